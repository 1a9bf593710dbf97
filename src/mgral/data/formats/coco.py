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

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Split
from mgral.data import coco_objects as objects
from mgral.data import doubts, locating, text_files
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, Sheet, Source, flag, own_id

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
        content = objects.lists(text_files.json(file, report), file, report)
        found = objects.categories(file, content["categories"], report)
        if names is not None and found != names:
            report.refuse(file, "", "categories differ from those of the other splits", "make them the same")
        names = found
        folder = "" if isinstance(options.images, str) else options.images.get(split)
        if folder is None:
            report.refuse(
                file, "", f"no image folder for {split or 'a single file'}", "name it in dataset.options.images"
            )
        unused = _parents(content["categories"], content["annotations"])
        parents = unused if parents is None else parents & unused
        unannotated = _add_images(source, file, split, folder, content["images"], report)
        objects.add(source, file, names, content["annotations"], report)
        _refuse_contradiction(source, file, unannotated, report)
    if options.missing is None:
        _refuse_without_any(source, report)
    if options.missing == "unlabelled":
        for key in [key for key, sheet in source.sheets.items() if not sheet.objects]:
            del source.sheets[key]
    names = names or {}
    for id in parents or ():
        report.note(f"category {id} ({names[id]}) is only the parent of the others and owns no box: it is no class")
    doubts.other_annotations(root, locating.finder(report).others(".json", report), list(files.values()), report)
    order = sorted(names, key=lambda id: (isinstance(id, str), id))
    classes = [names[id] for id in order if id not in (parents or ())]
    return replace(source, classes=classes, unlisted=_unlisted(source, report))


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
        objects.refuse_within(entry, f"image {key[1]}", file, report)
        if odd := _odd_keys(tuple(entry)):
            _tell_odd(entry, odd, f"image {key[1]}", file, report)
            if entry.get(_VIDEO) is not None and not (split or entry.get("split")):
                what = "images are frames of videos, and frames of one may be drawn into several splits"
                report.count(f"{what}; bring splits, or set dataset.splits.group", f"image {key[1]}")
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


_PARTLY = frozenset({"neg_category_ids", "not_exhaustive_category_ids"})  # LVIS
_VIDEO = "video_id"
_SUBSETS = frozenset({"subset", "set", "partition", "fold"})


@lru_cache(maxsize=1000)
def _odd_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of an image that COCO does not have, and that matter."""
    return tuple(key for key in keys if key.lower() in _PARTLY | _SUBSETS | {_VIDEO})


def _tell_odd(entry: dict[str, Any], odd: tuple[str, ...], id: str, file: str, report: Findings) -> None:
    """Say what of an image is not read."""
    for key in odd:
        value, name = entry[key], key.lower()
        if name in _PARTLY and value:
            what = "images are annotated for some classes only (LVIS), and other objects in them count as background"
            report.count(what, id)
        if name in _SUBSETS and str(value).lower() in {"train", "val", "valid", "validation", "dev", "test"}:
            report.count(f"images name a split in {key}, which is not read; call the key split", id)


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
            remedy = "add them, or set dataset.options.missing: unlabelled (not annotated) or empty (no objects)"
            report.refuse(file, "", what, remedy)


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
