"""What the entries of a COCO file mean, of a data set or returned: flags, polygons, turned boxes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from mgral.data.box_validation import four, number
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawObject, Sheet, Source, Unfit, hull, ignored, own_id, turned_hull

_LISTS = ("images", "annotations", "categories")
_WITHIN = frozenset({"annotations", "objects", "bboxes", "boxes", "labels"})  # of other JSON formats
_FLAGS = frozenset({"iscrowd", "is_crowd", "ignore", "ignored", "difficult", "isgroupof", "is_group_of"})
_XYWH = frozenset({"1", "xywh", "xywh_abs", "boxmode.xywh_abs"})  # of detectron2's bbox_mode
_ANGLES = frozenset({"rotation", "angle", "theta"})
_JUDGED = 1000  # annotations of a file whose polygons are compared with their boxes


def lists(content: Any, file: str, report: Findings) -> dict[str, list[dict[str, Any]]]:
    """The three lists of a file, each known to hold objects. Raises MgralError if it is no COCO."""
    for key in _LISTS:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            report.refuse(file, "", f"has no list '{key}'{_other_kind(content)}", "give a COCO annotation file")
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                report.refuse(file, f"{key}[{i}]", f"{shown(entry)} is no object", "correct or remove it")
    return {key: content[key] for key in _LISTS}


def _other_kind(content: Any) -> str:
    """What a file that is no COCO data set seems to be."""
    first = content[0] if isinstance(content, list) and content else content
    keys = set(first) if isinstance(first, dict) else set()
    for marks, what in (
        ({"image_id", "score"}, ": these are the results of a detector, not annotations"),
        ({"data", "annotations"}, ": this is Label Studio's own JSON; export it as COCO"),
        ({"data", "completions"}, ": this is Label Studio's own JSON; export it as COCO"),
        ({"shapes", "imagePath"}, ": this is a file of LabelMe"),
        ({"_via_img_metadata"}, ": this is a project of VIA"),
        ({"regions", "filename"}, ": this is an export of VIA"),
    ):
        if marks <= keys:
            return what
    return ""


def categories(file: str, entries: list[dict[str, Any]], report: Findings) -> dict[int | str, str]:
    """Names of the categories by id. Raises MgralError."""
    names: dict[int | str, str] = {}
    for i, entry in enumerate(entries):
        id, name = own_id(entry.get("id")), entry.get("name")
        if type(name) is int:
            name = str(name)
        if isinstance(id, Unfit) or not isinstance(name, str):
            report.refuse(file, f"categories[{i}]", "needs an id and a name", "add what lacks")
        if id in names:
            report.refuse(file, f"category {id}", "id is duplicated", "give each category an id of its own")
        names[id] = name.strip()
    return names


def refuse_within(entry: dict[str, Any], id: str, file: str, report: Findings) -> None:
    """Refuse objects within an entry of ``images``, where nobody looks for them."""
    for key in _within(tuple(entry)):
        value = entry[key]
        if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
            what = f"holds {len(value)} {key} of its own, which are not read"
            report.refuse(file, id, what, "put them into the list 'annotations'")


@lru_cache(maxsize=1000)
def _within(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.lower() in _WITHIN)


@lru_cache(maxsize=1000)
def _flag_names(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Which keys are flags, in any case: the keys of a million annotations are nearly always the same."""
    return tuple(key for key in keys if key.lower() in _FLAGS)


def _attributes(entry: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an annotation by name: a mapping, or a list of pairs of ``name`` and ``value``."""
    given = entry.get("attributes")
    if isinstance(given, list):
        return {str(one["name"]): one.get("value") for one in given if isinstance(one, dict) and "name" in one}
    return given if isinstance(given, dict) else {}


def _flags(entry: dict[str, Any]) -> dict[str, Any]:
    """The flags of an annotation, also those of its ``attributes``."""
    said = {key: entry[key] for key in _flag_names(tuple(entry))}
    inner = _attributes(entry)
    if inner:
        said |= {f"attributes.{key}": inner[key] for key in _flag_names(tuple(inner))}
    return said


def add(source: Source, file: str, names: dict[int | str, str], entries: list[Any], report: Findings) -> None:
    """One object an annotation; entries are let go as they are read, since there may be a million."""
    seen: set[Any] = set()
    swapped = told = 0
    for i, entry in enumerate(entries):
        entries[i] = None
        id = own_id(entry["id"]) if "id" in entry else None
        if id in seen:
            report.count(
                "annotation ids are duplicated; annotations are numbered again, nothing uses their ids", str(id)
            )
        elif id is not None:
            seen.add(id)
        category = own_id(entry.get("category_id"))
        numbers = entry.get("bbox")
        if numbers in (None, [], [0, 0, 0, 0]):
            numbers = _polygons(entry.get("segmentation")) or numbers
            if numbers:
                report.count("annotations with polygons and no box are taken as their hulls", f"annotation {id}")
        elif not entry.get("segmentation"):
            if "area" in entry:  # else the area may be that of a mask
                told += 1
                swapped += _as_corners(numbers, entry["area"])
        elif told < _JUDGED and (own := _polygons(entry["segmentation"])):
            told += 1
            swapped += _corners_of(numbers, own)
        odd = _odd_keys(tuple(entry))
        item = RawObject(
            id=id if type(id) is int else f"annotations[{i}]" if id is None else f"annotation {id}",
            label=names.get(category, category if isinstance(category, int) else shown(category)),
            numbers=_turned(numbers, _attributes(entry), f"annotation {id}", report)
            if "attributes" in entry
            else numbers,
            ignore=ignored(_flags(entry)),
            fault=_odd(entry, odd, f"annotation {id}", file, report) if odd else None,
        )
        key = (file, own_id(entry.get("image_id")))
        sheet = source.sheets.get(key)
        if sheet is None:
            sheet = source.sheets[key] = Sheet(file, [])
        sheet.objects.append(item)
    if swapped and 2 * swapped > told:
        what = f"{swapped} boxes agree with their area or polygons only as corners x1, y1, x2, y2"
        report.refuse(file, "", what, "COCO's bbox is left, top, width, height: convert it")


def _as_corners(numbers: Any, area: Any) -> bool:
    """Whether a box agrees with its area as corners, and not as left, top, width, height."""
    given = [number(value) for value in numbers] if isinstance(numbers, list) else []
    size = number(area)
    if len(given) != 4 or None in given or size is None or size <= 0:
        return False
    a, b, c, d = (value for value in given if value is not None)
    near = 0.02 * size + 0.5
    return c > a and d > b and abs(c * d - size) > near and abs((c - a) * (d - b) - size) <= near


def _corners_of(numbers: Any, own: list[float]) -> bool:
    """Whether a box is the hull of its polygons (left, top, width, height) as corners, and not as it is."""
    given = four(numbers)
    if given is None or not all(map(math.isfinite, (*given, *own))):
        return False
    x, y, w, h = own
    near = 0.02 * (w + h) + 1
    as_corners = max(abs(a - b) for a, b in zip(given, (x, y, x + w, y + h), strict=True))
    return as_corners <= near and max(abs(a - b) for a, b in zip(given, own, strict=True)) > near


@lru_cache(maxsize=1000)
def _odd_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of an annotation that COCO does not have, and that matter."""
    return tuple(key for key in keys if key.lower() in _ANGLES | {"bbox_mode", "deleted"})


def _odd(entry: dict[str, Any], odd: tuple[str, ...], id: str, file: str, report: Findings) -> str | None:
    """What is wrong with an annotation by those keys; None if nothing is. Raises MgralError for another kind of box."""
    fault = None
    for key in odd:
        value, name = entry[key], key.lower()
        if name == "bbox_mode" and value is not None and str(value).lower() not in _XYWH:
            what = f"bbox_mode {shown(value)} is another kind of box than COCO's left, top, width, height"
            report.refuse(file, id, what, "convert the boxes, and take the key out")
        elif name == "deleted" and value not in (None, False, 0):
            fault = f"deleted is {shown(value)}"
        elif name in _ANGLES and number(value):
            report.count(f"annotations have an angle ({key}), which is not used: their boxes are taken as upright", id)
    return fault


def _turned(numbers: Any, attributes: dict[str, Any], id: str, report: Findings) -> Any:
    """The hull of a box that CVAT has turned about its centre by ``attributes.rotation`` degrees; else as given."""
    if not attributes:
        return numbers
    angle = number(attributes.get("rotation"))
    if not angle or not abs((angle + 90) % 180 - 90) > 0.5:
        return numbers
    given = [number(value) for value in numbers] if isinstance(numbers, list) else []
    if len(given) != 4 or None in given or not math.isfinite(angle):
        return numbers
    x, y, w, h = (value for value in given if value is not None)
    report.count("annotations are turned (attributes.rotation) and taken as their upright hulls", id)
    return turned_hull(x, y, w, h, angle)


def _polygons(given: Any) -> list[float] | None:
    """Hull of polygons x, y, x, y, …; None if they are none (a mask, say)."""
    if not isinstance(given, list) or not given:
        return None
    points: list[float] = []
    for polygon in given if isinstance(given[0], list) else [given]:
        values = [number(value) for value in polygon] if isinstance(polygon, list) else []
        if len(values) < 6 or len(values) % 2 or None in values:
            return None
        points += [value for value in values if value is not None]
    return hull(points)
