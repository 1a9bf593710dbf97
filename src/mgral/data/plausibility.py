"""Whether a data set as a whole can be right: what no single image or box gives away."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mgral.core.boxes import area
from mgral.core.types import Dataset
from mgral.data.box_validation import TOLERANCE, four, number, to_xyxy
from mgral.data.faults import Findings, shown

if TYPE_CHECKING:
    from mgral.data.locating import Finder
    from mgral.data.raw import Layout, Sheet, Source

TINY = 2.0
"""Pixels. Sides that are all shorter come from a wrong unit, or from clicks by mistake."""

_WHOLE = 0.999  # share of an image that counts as all of it

_VARIANT = re.compile(r"^(.*)\.rf\.[0-9A-Za-z]+")  # Roboflow: name_jpg.rf.<hash>.jpg


def check_source(source: Source, classes: list[str], report: Findings) -> None:
    """Faults of the whole that the numbers alone show. Raises MgralError for a wrong unit or order of numbers."""
    folded: dict[str, str] = {}
    for name in classes:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        first = folded.setdefault(key, name)
        if first != name:
            report.note(
                f"class names {shown(first)} and {shown(name)} differ in case, blanks or Unicode form only; "
                "are they one class?"
            )
    _shares_for_pixels(source, report)
    _from_one(source, classes, report)
    _zero_based(source, report)


def _shares_for_pixels(source: Source, report: Findings) -> None:
    if source.layout == "centre":
        return
    largest = count = 0.0
    for sheet in source.sheets.values():
        for item in sheet.objects:
            if isinstance(item.numbers, list | tuple):
                for value in item.numbers:
                    largest = max(largest, abs(number(value) or 0.0))
                    if largest > 1:
                        return
                count += 1
    if count and largest > 0:
        what = f"no number of the {count:.0f} boxes is larger than 1: these are shares of the image's sides, not pixels"
        report.refuse(next(iter(source.sheets.values())).file, "", what, "multiply them by width and height")


_OTHER: dict[Layout, Layout] = {"xywh": "xyxy", "centre": "xyxy", "xyxy": "xywh", "inclusive": "xywh"}
_SAID = {"xyxy": "corners x1, y1, x2, y2", "xywh": "left, top, width, height"}
_ENOUGH = 4  # boxes; of fewer, the same order of all their numbers may be chance
_SEVERAL, _SHARE = 3, 0.25  # boxes that do not fit, and their share: so many are no slips of single boxes
_MANY = 20  # different boxes: that all of so many fit in two ways is no chance


def may_be_another(layout: Layout, sheets: Iterable[Sheet]) -> bool:
    """Whether all boxes could be of another layout, by the order of their numbers alone: usually one box says no."""
    count = backward = 0
    for sheet in sheets:
        for item in sheet.objects:
            found = four(item.numbers)
            if found is None:
                continue
            a, b, c, d = found
            forward = c > a and d > b
            if not forward and _OTHER[layout] == "xyxy":
                return False
            count, backward = count + 1, backward + (not forward)
    return count >= _ENOUGH and (_OTHER[layout] == "xyxy" or backward > 0)


def check_layout(layout: Layout, sized: Iterable[tuple[Sheet, tuple[int, int]]], report: Findings) -> None:
    """Refuse boxes that fit in their images only if their numbers are taken in another way.

    A few boxes that do not fit are faults of their own, where nothing else speaks for the other way: in a small set all
    boxes may fit in both by chance. With ``on_invalid: drop`` that they do is said.

    Args:
        layout: in which they are taken.
        sized: annotations, each with width and height of its image.
        report: what refuses.
    """
    other = _OTHER[layout]
    different: set[tuple[float, ...]] = set()
    by_sides = layout == "centre"  # whether all fit as left, top, width, height too
    count, wrong, first = 0, 0, ("", "")
    for sheet, size in sized:
        scale = size if layout == "centre" else (1, 1)
        for item in sheet.objects:
            found = four(item.numbers)
            if found is None or not math.isfinite(sum(found)):
                continue
            pixels = tuple(n * s for n, s in zip(found, scale * 2, strict=True))
            if not _fits(pixels, other, size):
                return
            by_sides = by_sides and _fits(pixels, "xywh", size)
            count += 1
            different.add(found)
            if not _fits(found, layout, size):
                wrong, first = wrong + 1, first if wrong else (sheet.file, item.name)
    if not wrong:
        return
    said = _SAID[other] + (f", or as {_SAID['xywh']}" if by_sides else "")
    what = f"{wrong} of {count} boxes do not fit in their images as they are taken, and all fit as {said}"
    if len(different) >= _MANY or (wrong >= _SEVERAL and wrong >= _SHARE * count):
        report.refuse(*first, what, "convert them to the layout of the format")
    report.note(f"{what}: if they are meant so, convert them to the layout of the format")


def _fits(numbers: tuple[float, ...], layout: Layout, size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = to_xyxy((numbers[0], numbers[1], numbers[2], numbers[3]), layout, size)
    near = TOLERANCE
    return x1 < x2 and y1 < y2 and min(x1, y1) >= -near and x2 <= size[0] + near and y2 <= size[1] + near


def _from_one(source: Source, classes: list[str], report: Findings) -> None:
    """YOLO's class numbers counted from 1: the last one is unknown, and 0 never occurs."""
    if source.layout != "centre" or not classes:
        return
    first, count = "", 0
    for sheet in source.sheets.values():
        for item in sheet.objects:
            if item.label == classes[0]:
                return
            if item.label == len(classes) and not isinstance(item.label, str):
                first, count = first or f"{sheet.file}: {item.name}", count + 1
    if count > 1:
        file, _, id = first.rpartition(": ")
        what = (
            f"class {len(classes)} of {len(classes)} names, and class 0 never occurs: the classes seem to count from 1"
        )
        report.refuse(file, id, what, "count them from 0, or put a name for 0 first")


def _zero_based(source: Source, report: Findings) -> None:
    """VOC corners of 0 where they count from 1."""
    if source.layout != "inclusive":
        return
    for sheet in source.sheets.values():
        for item in sheet.objects:
            if isinstance(item.numbers, list) and any(number(value) == 0 for value in item.numbers[:2]):
                where = f"{sheet.file}: {item.name}"
                report.count(
                    "boxes begin at 0, so this set seems to count from 0: set dataset.options.one_based: false", where
                )


def packed(finder: Finder, report: Findings) -> str:
    """A hint at archives that are still to be unpacked."""
    names = [
        name for name, _ in finder.walk(finder.root, report) if name.lower().endswith((".zip", ".tar", ".tgz", ".gz"))
    ]
    return f"; {names[0]} may have to be unpacked (zip or tar)" if names else ""


def check_whole(dataset: Dataset, grouped: bool, report: Findings) -> None:
    """What is doubtful in the data set that was made: said, not refused."""
    objects = [(dataset.images[i], found) for i, found in dataset.boxes.items() if len(found)]
    counts = [len(found) for _, found in objects]
    xyxy = np.concatenate([found.xyxy for _, found in objects] or [np.zeros((0, 4), np.float32)])
    labels = np.concatenate([found.labels for _, found in objects] or [np.zeros(0, np.int64)])
    ignore = np.concatenate([found.ignore for _, found in objects] or [np.zeros(0, np.bool_)])
    areas = np.repeat(np.array([image.width * image.height for image, _ in objects], np.float64), counts)
    total, ignored = len(labels), int(ignore.sum())
    tiny = int(((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, initial=0) < TINY).sum())
    filling = int((area(xyxy) >= _WHOLE * areas).sum())
    per_class = np.bincount(labels[~ignore], minlength=len(dataset.classes))
    annotated = Counter[str](dataset.images[i].split for i in dataset.boxes)
    splits = np.repeat(np.array([image.split for image, _ in objects], object), counts)
    counted = Counter[str](splits[~ignore].tolist())
    if not total and len(dataset.boxes) >= _SEVERAL:
        report.note(f"none of the {len(dataset.boxes)} images that count as annotated shows an object")
    if tiny:
        report.note(
            f"{tiny} of {total} boxes are smaller than {TINY:g} pixels on both sides; a detector cannot learn them"
        )
    if total >= _ENOUGH and filling == total:
        report.note(f"all {total} boxes cover their whole image: these are labels of images, not of objects")
    if total and ignored == total:
        report.note(
            f"all {total} boxes are ignored (iscrowd, ignore or difficult is set): nothing can be learnt or measured"
        )
    elif 2 * ignored > total:
        report.note(f"most boxes, {ignored} of {total}, are ignored (iscrowd, ignore or difficult is set)")
    for split, use in (("val", "rewards"), ("test", "results")):
        if annotated[split] and not counted[split]:
            report.note(f"there is no object in {split}: {use} cannot be measured on its {annotated[split]} images")
    unused = [name for label, name in enumerate(dataset.classes) if not per_class[label]]
    if unused and total > ignored:
        names = ", ".join(unused[:5]) + (" …" if len(unused) > 5 else "")
        report.note(f"{len(unused)} of {len(dataset.classes)} classes have no object: {names}")
    if not grouped:
        _variants(dataset, report)


def _variants(dataset: Dataset, report: Findings) -> None:
    """Variants of one picture in several splits."""
    splits: dict[str, set[str]] = {}
    for image in dataset.images.values():
        match = _VARIANT.match(image.file_name)
        if match:
            splits.setdefault(match.group(1).rsplit("/", 1)[-1], set()).add(image.split)
    torn = [source for source, found in splits.items() if len(found) > 1]
    if torn:
        report.note(
            f"variants of one picture are in several splits, so scores are too good: {len(torn)} pictures, such as "
            f"{torn[0]}; set dataset.splits.group: '^(.*)\\.rf\\.' to keep each group in one"
        )
