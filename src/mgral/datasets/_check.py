"""From a source to a data set: the one place that decides what is a fault, the same for all formats."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mgral import boxes
from mgral.datasets import _pictures, _splits
from mgral.datasets._findings import Findings, shown
from mgral.datasets._source import Layout, RawImage, RawObject, Sheet, Source
from mgral.params import Splits
from mgral.types import SPLITS, Boxes, Dataset, Image, Split

TOLERANCE = 1.0
"""Pixels that a box may exceed its image by, as rounding makes it: it is clipped and counted. More is a fault."""

_LARGEST_ID = 2**53 - 1  # JSON readers that know only doubles keep it exact


@dataclass(frozen=True)
class _Sound:
    """An image that passed: its names, its size, its objects."""

    raw: RawImage
    file_name: str
    size: tuple[int, int]
    boxes: Boxes | None


def assemble(source: Source, splits: Splits, report: Findings) -> tuple[Dataset, dict[str, Any]]:
    """Judge a source and put it into canonical form.

    Returns:
        The data set, and what its ``info`` says about ids and splits.

    Raises:
        MgralError: a fault, with ``on_invalid: fail``; whatever the mode, a file name that leaves the image
            root, no classes, no images, or none left for the pool.
    """
    classes = _classes(source, report)
    if not source.images:
        report.refuse(".", "", "no images", "check dataset.root and dataset.options")
    named = _named(source, report)
    ids, kept = _ids(named, source.keys_are_ids)
    sound = _sound(source, named, classes, report)
    if not sound:
        report.refuse(".", "", "no image is left", f"mend the {len(report.dropped)} faults found")

    by_id = dict(sorted((ids[item.file_name], item) for item in sound))
    split, drawn = _split(by_id, splits)
    if "train" not in split.values():
        report.refuse(".", "", "no image for the pool (train split)", "check the split lists and dataset.splits")
    dataset = Dataset(
        classes=tuple(classes),
        images={i: Image(i, item.file_name, *item.size, split[i]) for i, item in by_id.items()},
        boxes={i: item.boxes for i, item in by_id.items() if item.boxes is not None},
        root=source.image_root,
    )
    return dataset, {"ids": "kept" if kept else "by file name", "splits_drawn": drawn}


def _classes(source: Source, report: Findings) -> list[str]:
    """Class names in order of index."""
    found = {item.label for sheet in source.sheets.values() for item in sheet.objects}
    names = source.classes
    if names is None:
        names = sorted(name for name in found if _pictures.is_name(name))
    if not names:
        report.refuse(".", "", "no classes", "check that annotations are found and name their classes")
    for name in names:
        if not _pictures.is_name(name):
            report.refuse(".", f"class {shown(name)}", "not a class name", "give each class a name of one line")
        if names.count(name) > 1:
            report.refuse(".", f"class '{name}'", "stands twice", "give each class a name of its own")
    return names


def _named(source: Source, report: Findings) -> list[tuple[RawImage, str, Path]]:
    """Images with their plain file name and path; names that escape, repeats and leaks are found here."""
    named: list[tuple[RawImage, str, Path]] = []
    keys: set[Hashable] = set()
    splits: dict[Path, set[Any]] = {}
    for image in source.images:
        if not _pictures.is_name(image.file_name):
            report.fault(image.file, _image(image), "no file name", "give file_name as text")
            continue
        try:
            name, path = _pictures.below(source.image_root, image.file_name)
        except _pictures.OutsideError:
            what = f"file name {shown(image.file_name)} leaves the image root"
            report.refuse(image.file, _image(image), what, "put the image below the root and name it from there")
        except ValueError as error:
            what = f"unfit file name {shown(image.file_name)} ({error})"
            report.fault(image.file, _image(image), what, "rename the file")
            continue
        if image.split not in (None, *SPLITS):
            report.fault(image.file, _image(image), f"unknown split {shown(image.split)}", "use train, val or test")
        elif source.keys_are_ids and not _is_id(image.key):
            report.fault(image.file, _image(image), "id is not a whole number", "number the images")
        elif path in splits:
            if image.split in splits[path]:
                report.fault(image.file, _image(image), f"file name '{name}' stands twice", "list each image once")
            splits[path].add(image.split)
        elif image.key in keys:
            what = f"id stands twice, the second time for '{name}'"
            report.fault(image.file, _image(image), what, "give each image an id of its own")
        else:
            splits[path] = {image.split}
            keys.add(image.key)
            named.append((image, name, path))
    for image, name, path in named:
        if len(splits[path]) > 1:
            both = " and ".join(str(split) for split in sorted(splits[path], key=str))
            what = f"image '{name}' is in two splits ({both})"
            report.fault(image.file, _image(image), what, "keep it in one, or scores are too good")
    return [item for item in named if len(splits[item[2]]) == 1]


def _ids(named: list[tuple[RawImage, str, Path]], keys_are_ids: bool) -> tuple[dict[str, int], bool]:
    """Canonical ids by file name, and whether they are the data set's own numbers.

    Own numbers are the ids of the format, or the digits that every stem ends in; they are kept if all are
    unique and at least 1. Else images count from 1 in order of file name.
    """
    names = sorted(name for _, name, _ in named)
    if keys_are_ids:
        numbers = {name: image.key[-1] for image, name, _ in named if isinstance(image.key, tuple)}
    else:
        ends = {name: re.search(r"[0-9]+$", Path(name).stem) for name in names}
        numbers = {name: int(end.group()) for name, end in ends.items() if end and len(end.group()) <= 16}
    fit = len(numbers) == len(set(numbers.values())) == len(names)
    if fit and all(1 <= number <= _LARGEST_ID for number in numbers.values()):
        return numbers, True
    return {name: number for number, name in enumerate(names, start=1)}, False


def _sound(
    source: Source, named: list[tuple[RawImage, str, Path]], classes: list[str], report: Findings
) -> list[_Sound]:
    """Decode every image and judge its annotation."""
    index = {name: label for label, name in enumerate(classes)}
    listed = {image.key for image in source.images}
    for key, sheet in source.sheets.items():
        if key not in listed:
            for id in [item.id for item in sheet.objects] or [""]:
                report.fault(sheet.file, id, "annotation for an unknown image", "add the image or remove this")
    sound = []
    for image, name, path in tqdm(named, desc="images", unit="", disable=None):
        sheet = source.sheets.get(image.key)
        with_it = f" (with its {len(sheet.objects)} objects)" if sheet and sheet.objects else ""
        try:
            size = _pictures.size(path)
        except ValueError as error:
            report.fault(image.file, _image(image), f"'{name}': {error}{with_it}", "restore the file")
            continue
        if sheet is None and source.without_sheet == "fault":
            report.fault(image.file, _image(image), f"'{name}' has no annotation file", "add it or unlist the image")
        elif sheet is not None and sheet.size is not None and not _same(sheet.size, size):
            said = " x ".join(str(side) for side in sheet.size)
            what = f"size {said} disagrees with the file's {size[0]} x {size[1]}{with_it}"
            report.fault(sheet.file, _image(image), what, "correct the size, or rotate the pixels as EXIF says")
        elif sheet is None and source.without_sheet == "unlabelled":
            sound.append(_Sound(image, name, size, None))
        else:
            found = _boxes(sheet, source.layout, size, index, report) if sheet else Boxes.empty()
            sound.append(_Sound(image, name, size, found))
    return sound


def _split(sound: Mapping[int, _Sound], params: Splits) -> tuple[dict[int, Split], list[str]]:
    """The split of every id, and the names of the splits that had to be drawn.

    Splits that the data set names stay as they are, and an image in none of them belongs to train. Those it
    lacks are drawn from train; shares count against all images that have an annotation, since an unlabelled
    image can only wait in the pool.
    """
    split: dict[int, Split] = {i: item.raw.split or "train" for i, item in sound.items()}
    labels = {i: set(item.boxes.labels.tolist()) for i, item in sound.items() if item.boxes is not None}
    shares: dict[Split, float] = {"val": params.val, "test": params.test}
    missing = [name for name, share in shares.items() if share > 0 and name not in split.values()]
    pool = {i: labels[i] for i in labels if split[i] == "train"}
    if not missing or not pool:
        return split, []
    wanted = {name: min(1.0, shares[name] * len(labels) / len(pool)) for name in missing}
    return {**split, **_splits.draw(pool, wanted, params.seed)}, list(missing)


def _image(image: RawImage) -> str:
    key = image.key[-1] if isinstance(image.key, tuple) else image.key
    return f"image {key}"


def _is_id(key: Hashable) -> bool:
    number = key[-1] if isinstance(key, tuple) else key
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LARGEST_ID


def _same(said: tuple[Any, Any], size: tuple[int, int]) -> bool:
    return all(_number(side) == pixels for side, pixels in zip(said, size, strict=True))
