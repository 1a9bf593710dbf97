"""COCO: JSON with ``images``, ``annotations`` and ``categories``; boxes are left, top, width, height in pixels.

Splits are one annotation file each, or a key ``split`` of each image in a single file. Classes are the
categories in order of id, used or not. ``iscrowd``, ``ignore`` and ``difficult`` make an object ignored.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Split
from mgral.data import text_files
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, RawObject, Sheet, Source


class Options(Settings):
    """Where the files lie below dataset.root."""

    annotations: str | dict[Split, str] = Field(
        default="annotations.json", description="one file, or one per split: {train: path, val: path, test: path}"
    )
    images: str | dict[Split, str] = Field(
        default="images", description="folder that file names start from, or one per split, as for annotations"
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
    names: dict[int, str] | None = None
    for split, file in files.items():
        content = _content(file, report)
        found = _categories(file, content["categories"], report)
        if names is not None and found != names:
            report.refuse(file, "", "categories differ from those of the other splits", "make them the same")
        names = found
        folder = "" if isinstance(options.images, str) else options.images.get(split)
        if folder is None:
            report.refuse(file, "", f"no image folder for {split or 'a single file'}", "name it in options.images")
        _add_images(source, file, split, folder, content["images"])
        _add_objects(source, file, names, content["annotations"])
    classes = [name for _, name in sorted((names or {}).items())]
    return replace(source, classes=classes)


def _content(file: str, report: Findings) -> dict[str, list[dict[str, Any]]]:
    """The three lists, each known to hold objects."""
    content: dict[str, list[dict[str, Any]]] = text_files.json(file, report)
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            report.refuse(file, "", f"has no list '{key}'", "give a COCO annotation file")
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                report.refuse(file, f"{key}[{i}]", f"{shown(entry)} is no object", "mend or remove it")
    return content


def _categories(file: str, entries: list[dict[str, Any]], report: Findings) -> dict[int, str]:
    names: dict[int, str] = {}
    for i, entry in enumerate(entries):
        id, name = entry.get("id"), entry.get("name")
        if type(id) is not int or not isinstance(name, str):
            report.refuse(file, f"categories[{i}]", "needs a whole number as id and a name", "add what lacks")
        if id in names:
            report.refuse(file, f"category {id}", "id stands twice", "give each category an id of its own")
        names[id] = name.strip()
    return names


def _add_images(source: Source, file: str, split: Any, folder: str, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        key, name = (file, _key(entry.get("id"))), entry.get("file_name")
        if folder and isinstance(name, str) and not Path(name).is_absolute():
            name = f"{folder}/{name}"
        source.images.append(RawImage(key, file, name, split or entry.get("split")))
        if entry.get("annotated", True):
            sides = (entry.get("width"), entry.get("height"))
            source.sheets.setdefault(key, Sheet(file, [], None if None in sides else sides))


def _add_objects(source: Source, file: str, names: dict[int, str], entries: list[dict[str, Any]]) -> None:
    for i, entry in enumerate(entries):
        category = _key(entry.get("category_id"))
        item = RawObject(
            id=f"annotation {_key(entry['id'])}" if "id" in entry else f"annotations[{i}]",
            label=names.get(category, category) if isinstance(category, int) else category,
            numbers=entry.get("bbox"),
            ignore=any(entry.get(flag) for flag in ("iscrowd", "ignore", "difficult")),
        )
        key = (file, _key(entry.get("image_id")))
        source.sheets.setdefault(key, Sheet(file, [])).objects.append(item)


def _key(id: Any) -> int | str:
    """Whole numbers as they are, all else as text that equals no number: in Python ``True == 1 == 1.0``."""
    return id if type(id) is int else shown(id)
