"""COCO: JSON with ``images``, ``annotations`` and ``categories``; boxes are left, top, width, height in pixels.

Splits are one annotation file each, or a key ``split`` of each image in a single file. Classes are the categories in
order of id, used or not; a category 0 that is only the parent of the others and owns no box (Roboflow) is none.
``iscrowd``, ``ignore`` and ``difficult`` make an object ignored, also among CVAT's ``attributes``. An annotation with
polygons and no box is taken as their hull, and so is a box that CVAT has turned (``attributes.rotation``). An image
without annotations shows no object, unless ``missing`` says that nobody has annotated it; the key ``annotated: false``
says so of a single image. A split of three or more images and no annotation is refused, unless
``missing`` says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Split
from mgral.data import locating, text_files
from mgral.data.box_validation import number
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, RawObject, Sheet, Source, Unfit, flag, hull, ignored, own_id

_ENOUGH = 3  # images of a split; one or two may well show no object


class Options(Settings):
    """Where the files lie below dataset.root."""

    annotations: str | dict[Split, str] = Field(
        default="annotations.json", description="one file, or one per split: {train: path, val: path, test: path}"
    )
    images: str | dict[Split, str] = Field(
        default="images", description="folder that file names start from, or one per split, as for annotations"
    )
    missing: Literal["empty", "unlabelled"] | None = Field(
        default=None,
        description="what an image without annotations is: empty (it shows no object), or unlabelled (nobody has "
        "annotated it; it waits in the pool); null: empty, but three or more images "
        "of a split without any annotation are refused",
    )


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read the annotation files. Raises MgralError for one that is no COCO JSON."""
    given = options.annotations
    files: dict[Any, str] = {None: given} if isinstance(given, str) else {**given}
    source = Source(
        image_root=root / options.images if isinstance(options.images, str) else root,
        images=[],
        sheets={},
        layout="xywh",
        classes=None,
        keys_are_ids=True,
        without_sheet="unlabelled",
    )
    names: dict[int | str, str] | None = None
    parents: set[int | str] | None = None
    for split, file in files.items():
        content = _content(file, report)
        found = _categories(file, content["categories"], report)
        if names is not None and found != names:
            report.refuse(file, "", "categories differ from those of the other splits", "make them the same")
        names = found
        folder = "" if isinstance(options.images, str) else options.images.get(split)
        if folder is None:
            report.refuse(file, "", f"no image folder for {split or 'a single file'}", "name it in options.images")
        unused = _parents(content["categories"], content["annotations"])
        parents = unused if parents is None else parents & unused
        unannotated = _add_images(source, file, split, folder, content["images"], report)
        _add_objects(source, file, names, content["annotations"], report)
        _refuse_contradiction(source, file, unannotated, report)
    if options.missing is None:
        _refuse_without_any(source, report)
    if options.missing == "unlabelled":
        for key in [key for key, sheet in source.sheets.items() if not sheet.objects]:
            del source.sheets[key]
    names = names or {}
    for id in parents or ():
        report.note(f"category {id} ({names[id]}) is only the parent of the others and owns no box: it is no class")
    order = sorted(names, key=lambda id: (isinstance(id, str), id))
    classes = [names[id] for id in order if id not in (parents or ())]
    return replace(source, classes=classes, unlisted=_unlisted(source, report))


def _content(file: str, report: Findings) -> dict[str, list[dict[str, Any]]]:
    """The three lists, each known to hold objects."""
    content: dict[str, list[dict[str, Any]]] = text_files.json(file, report)
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            report.refuse(file, "", f"has no list '{key}'{_other_kind(content)}", "give a COCO annotation file")
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                report.refuse(file, f"{key}[{i}]", f"{shown(entry)} is no object", "correct or remove it")
    return content


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


def _categories(file: str, entries: list[dict[str, Any]], report: Findings) -> dict[int | str, str]:
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


def _parents(categories: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> set[int | str]:
    """Ids of categories that are no class: number 0, the supercategory of all others, and of no annotation."""
    first = next((entry for entry in categories if own_id(entry["id"]) == 0), None)
    others = [entry for entry in categories if entry is not first]
    if first is None or not others or any(entry.get("supercategory") != first["name"] for entry in others):
        return set()
    return set() if any(own_id(entry.get("category_id")) == 0 for entry in annotations) else {0}


def _add_images(
    source: Source, file: str, split: Any, folder: str, entries: list[dict[str, Any]], report: Findings
) -> set[Any]:
    """Returns the keys of the images that the file calls not annotated."""
    unannotated = set()
    for entry in entries:
        key = (file, own_id(entry.get("id")))
        name, own = entry.get("file_name"), entry.get("split")
        if split and own not in (None, split):
            what = f"its split is {shown(own)} there, and the file is that of {split}"
            report.fault(file, f"image {key[1]}", what, "correct one of them")
        name = name.strip("\r\n") if isinstance(name, str) else name
        source.images.append(RawImage(key, file, name, split or own, folder))
        annotated = None if entry.get("annotated", True) is None else flag(entry.get("annotated", True))
        if annotated is None:
            what = f"annotated {shown(entry['annotated'])} is neither yes nor no"
            report.fault(file, f"image {key[1]}", what, "write true or false")
        if annotated:
            sides = (entry.get("width"), entry.get("height"))
            source.sheets.setdefault(key, Sheet(file, [], sides))
        else:
            unannotated.add(key)
    return unannotated


def _refuse_contradiction(source: Source, file: str, unannotated: set[Any], report: Findings) -> None:
    """Refuse objects of an image that the same file calls not annotated."""
    for key in sorted(unannotated & source.sheets.keys(), key=str):
        what = f"annotated is false, but it has {len(source.sheets[key].objects)} annotations"
        report.fault(file, f"image {key[1]}", what, "correct annotated, or remove them")
        report.fallen += len(source.sheets.pop(key).objects)


def _refuse_without_any(source: Source, report: Findings) -> None:
    """Refuse a split in which no image has an annotation: they lie elsewhere, or nobody has annotated it yet."""
    groups: dict[tuple[str, str], list[RawImage]] = {}
    for image in source.images:
        if image.key in source.sheets:  # not one of which the file says that it is not annotated
            groups.setdefault((image.file, shown(image.split) if image.split else ""), []).append(image)
    for (file, split), images in groups.items():
        if len(images) >= _ENOUGH and not any(source.sheets[image.key].objects for image in images):
            what = f"none of its {len(images)} images{' of split ' + split if split else ''} has an annotation"
            remedy = "add them, or set options.missing: unlabelled (not annotated) or empty (no objects)"
            report.refuse(file, "", what, remedy)


_FLAGS = frozenset({"iscrowd", "ignore", "difficult"})


@lru_cache(maxsize=1000)
def _flag_names(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Which keys are flags, in any case: the keys of a million annotations are nearly always the same."""
    return tuple(key for key in keys if key.lower() in _FLAGS)


def _flags(entry: dict[str, Any]) -> dict[str, Any]:
    """The flags of an annotation, also those of its ``attributes``."""
    said = {key: entry[key] for key in _flag_names(tuple(entry))}
    inner = entry.get("attributes")
    if isinstance(inner, dict):
        said |= {f"attributes.{key}": inner[key] for key in _flag_names(tuple(inner))}
    return said


def _add_objects(source: Source, file: str, names: dict[int | str, str], entries: list[Any], report: Findings) -> None:
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
        elif "area" in entry and not entry.get("segmentation"):  # else the area may be that of a mask
            told += 1
            swapped += _as_corners(numbers, entry.get("area"))
        item = RawObject(
            id=id if type(id) is int else f"annotations[{i}]" if id is None else f"annotation {id}",
            label=names.get(category, category if isinstance(category, int) else shown(category)),
            numbers=_turned(numbers, entry["attributes"], f"annotation {id}", report)
            if "attributes" in entry
            else numbers,
            ignore=ignored(_flags(entry)),
        )
        key = (file, own_id(entry.get("image_id")))
        sheet = source.sheets.get(key)
        if sheet is None:
            sheet = source.sheets[key] = Sheet(file, [])
        sheet.objects.append(item)
    if swapped and 2 * swapped > told:
        what = f"{swapped} boxes agree with their area only as corners x1, y1, x2, y2"
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


def _turned(numbers: Any, attributes: Any, id: Any, report: Findings) -> Any:
    """The hull of a box that CVAT has turned about its centre by ``attributes.rotation`` degrees; else as given."""
    if not attributes:
        return numbers
    angle = number(attributes.get("rotation")) if isinstance(attributes, dict) else None
    if not angle or not abs((angle + 90) % 180 - 90) > 0.5:
        return numbers
    given = [number(value) for value in numbers] if isinstance(numbers, list) else []
    if len(given) != 4 or None in given or not math.isfinite(angle):
        return numbers
    x, y, w, h = (value for value in given if value is not None)
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height = w * cos + h * sin, w * sin + h * cos
    report.count("annotations are turned (attributes.rotation) and taken as their upright hulls", f"annotation {id}")
    return [x + (w - width) / 2, y + (h - height) / 2, width, height]


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


def _unlisted(source: Source, report: Findings) -> list[str]:
    """Images that lie in the folders of the images and that no file names."""
    finder = locating.finder(report)
    quiet = Findings(report.root, links="follow")
    named = set()
    for raw in source.images:
        try:
            named.add(finder.file(source.image_root, raw.file_name, quiet, raw.folder)[0])
        except (locating.OutsideError, LookupError, TypeError, AttributeError, ValueError):
            continue
    folders: Iterable[str] = {raw.folder for raw in source.images}
    found: set[str] = set()
    for folder in folders:
        top = source.image_root / folder
        if locating.is_folder(top):
            found.update(f"{folder}/{name}" if folder else name for name in finder.images(top, report, strict=False))
    return sorted(found - named)
