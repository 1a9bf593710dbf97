"""What the elements of a VOC file mean, of a data set or returned: objects, flags, turned boxes."""

from __future__ import annotations

import math
from typing import Any
from xml.etree.ElementTree import Element

from mgral.data.box_validation import four, number
from mgral.data.raw import RawObject, flag, ignored, turned_hull

EDGES = ("xmin", "ymin", "xmax", "ymax")
_SINGLE = ("name", "difficult", "bndbox", *(f"bndbox/{edge}" for edge in EDGES))  # at most once in an object
_FLAGS = ("difficult", "ignore", "ignored", "iscrowd", "is_crowd")
_PARTS = frozenset({"object", "objects", "size", "filename", "folder", "source", "segmented"})
_BOXES = frozenset({"bndbox", "robndbox", "box", "bbox", "polygon", "segment", "rectangle", "obb"})


def plain(top: Element) -> None:
    """Take namespaces and capitals out of all tags: with them they mean the same."""
    for element in top.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2].lower()


def fault(top: Element) -> str:
    """Why a file is no VOC annotation, or says something twice; empty if all is well."""
    return _unlike_voc(top) or _twice(top, ("filename", "size", "size/width", "size/height"))


def objects(top: Element) -> list[RawObject]:
    """The objects of a file. Where the numbers are floats, as no text is, they are the hull of a turned box."""
    found = [*top.findall("object"), *top.findall("objects/object")]
    return [_object(number, element) for number, element in enumerate(found, start=1)]


def _unlike_voc(top: Element) -> str:
    """Why a file is no VOC annotation, so that its objects are not overlooked; empty if it is one."""
    if top.tag != "annotation":
        return f"root element <{str(top.tag)[:40]}> is not <annotation>"
    if not {element.tag for element in top} & _PARTS:
        return "<annotation> holds none of the elements of VOC"
    objects = [*top.findall("object"), *top.findall("objects/object")]
    inside = sum(element.tag in _BOXES for item in objects for element in item.iter())
    if sum(1 for _ in top.iter("object")) != len(objects):
        return "<object> elements are nested where they are not looked for"
    if sum(element.tag in _BOXES for element in top.iter()) != inside:
        return "boxes lie outside <object> elements"
    return ""


def _twice(element: Element, paths: tuple[str, ...]) -> str:
    """Which of some elements occurs more than once, so that it is not clear which is meant; empty if none does."""
    for path in paths:
        count = len(element.findall(path))
        if count > 1:
            return f"has {count} {path.rpartition('/')[2]} elements, and it is not clear which is meant"
    return ""


def _object(place: int, element: Element) -> RawObject:
    name = element.findtext("name")
    flags = {key: element.findtext(key) for key in _FLAGS} | {"attribute difficult": element.get("difficult")}
    inner = {one.findtext("name"): one.findtext("value") for one in element.findall("attributes/attribute")}
    flags |= {f"attributes {key}": inner[key] for key in _FLAGS if key in inner}
    fault = _twice(element, _SINGLE) or ("deleted is set" if flag(element.findtext("deleted")) is not False else None)
    return RawObject(
        id=f"object {place}",
        label=name.strip() if name else name,
        numbers=_turned([element.findtext(f"bndbox/{edge}") for edge in EDGES], inner.get("rotation")),
        ignore=ignored(flags),
        fault=fault or None,
    )


def _turned(corners: list[str | None], rotation: str | None) -> list[Any]:
    """The corners of the hull of a box that CVAT has turned about its centre by so many degrees; else as given."""
    angle, found = number(rotation), four(corners)
    if not angle or found is None or not math.isfinite(angle + sum(found)) or abs((angle + 90) % 180 - 90) <= 0.5:
        return corners
    x1, y1, x2, y2 = found
    left, top, width, height = turned_hull(x1, y1, x2 - x1, y2 - y1, angle)
    return [left, top, left + width, top + height]
