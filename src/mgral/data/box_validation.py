"""Annotated objects: from numbers as a file gives them to boxes inside their image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from mgral.core import boxes
from mgral.core.types import Boxes
from mgral.data.faults import Findings, shown
from mgral.data.image_files import is_name
from mgral.data.raw import Layout, RawObject, Sheet

TOLERANCE = 1.0
"""Pixels that a box may exceed its image by, as rounding makes it: it is clipped and counted. More is a fault."""

_NOISE = 1e-6  # pixels; an excess below it comes from floating point and is not worth counting


Corners = tuple[float, float, float, float]


def judge(
    sheet: Sheet,
    layout: Layout,
    size: tuple[int, int],
    index: Mapping[str, int],
    report: Findings,
) -> Boxes | None:
    """The objects of one image that pass.

    Whatever is left out of an image must not turn into background. Where its place is known an ignored region stays
    there; where it is not (unknown class or flag, no numbers), the whole image counts as not annotated. A box without
    area marks nothing and is only left out.

    Args:
        sheet: the image's annotation.
        layout: of its numbers.
        size: width and height of the image in pixels.
        index: position of each class name.
        report: takes the faults and counts clipped boxes.

    Returns:
        The boxes; None if the image must count as not annotated.
    """
    rows: list[Corners] = []
    labels: list[int] = []
    ignore: list[bool] = []
    known = True
    seen: dict[Corners, set[int]] = {}
    for item in sheet.objects:
        what, remedy = _unfit(item, index)
        if what:
            report.fault(sheet.file, item.name, what, remedy)
            report.fallen += 1
            known = False
            continue
        row, sound = _corners(sheet.file, item, layout, size, report)
        if row is None:
            known &= sound
            continue
        label = index[item.label]
        before = seen.setdefault(row, set())
        if label in before:
            report.count("objects are there twice, with one class and box; kept once", f"{sheet.file}: {item.name}")
            continue
        if before:
            report.count("boxes are there twice, of two classes; both are kept", f"{sheet.file}: {item.name}")
        before.add(label)
        rows.append(row)
        labels.append(label)
        ignore.append(bool(item.ignore) or not sound)
    if not known:
        return None
    if not rows:
        return Boxes.empty()
    return Boxes(np.array(rows, np.float32), np.array(labels, np.int64), np.array(ignore, np.bool_))


def _unfit(item: RawObject, index: Mapping[str, int]) -> tuple[str, str]:
    """What is wrong with an object apart from its box, and the remedy; empty if nothing is."""
    if item.fault:
        return item.fault, "correct or remove it"
    if isinstance(item.ignore, str):
        return item.ignore, "write 0 or 1"
    if not is_name(item.label) or item.label not in index:
        valid = f"use one of: {', '.join(islice(index, 20))}"
        if isinstance(item.label, int):
            valid += " (counted from 0)" if item.id is not None and str(item.id).startswith("line") else ""
        return f"unknown class {shown(item.label)}", valid
    return "", ""


def _corners(
    file: str, item: RawObject, layout: Layout, size: tuple[int, int], report: Findings
) -> tuple[Corners | None, bool]:
    """Corners within the image, and whether they may stay as they are.

    ``(None, True)``: a box without area; nothing lies there. ``(None, False)``: the place is not known.
    ``(corners, False)``: a fault; the region is to be ignored.
    """
    found = four(item.numbers)
    if found is None:
        _fallen(file, item, f"box {shown(item.numbers)} is not four numbers", report)
        return None, False
    a, b, c, d = given = found
    if not math.isfinite(a + b + c + d) and not all(map(math.isfinite, (a, b, c, d))):
        _fallen(file, item, f"box ({_said(given)}) is not finite", report)
        return None, False
    corners = layout in ("xyxy", "inclusive")
    sides = (c - a, d - b) if corners else (c, d)
    if min(sides) <= 0:
        _fallen(file, item, f"box ({_said(given)}) has no area", report)
        if min(sides) == 0:
            return None, True
        region = _clip(to_xyxy((min(a, c), min(b, d), max(a, c), max(b, d)), layout, size), size) if corners else None
        return (None, False) if region is None or _empty(region) else (region, False)
    xyxy = to_xyxy((a, b, c, d), layout, size)
    if xyxy[0] >= 0 and xyxy[1] >= 0 and xyxy[2] <= size[0] and xyxy[3] <= size[1] and not _empty(xyxy):
        return xyxy, True  # as nearly all are
    clipped = _clip(xyxy, size)
    excess = max(abs(x - y) for x, y in zip(xyxy, clipped, strict=True))
    empty = _empty(clipped)
    image = f"the image ({size[0]} x {size[1]})"
    if not excess <= TOLERANCE:
        _fallen(file, item, f"box ({_said(given)}) leaves {image} by {excess:.4g} px", report)
        return (None, False) if empty else (clipped, False)
    if empty:
        _fallen(file, item, f"box ({_said(given)}) has no area inside {image}", report)
        return None, True
    report.clipped += excess > _NOISE
    return clipped, True


def _fallen(file: str, item: RawObject, what: str, report: Findings) -> None:
    report.fault(file, item.name, what, "correct or remove it")
    report.fallen += 1


def _said(numbers: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in numbers)


def _clip(xyxy: Corners, size: tuple[int, int]) -> Corners:
    width, height = size
    x1, y1, x2, y2 = xyxy
    return min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)


def _empty(xyxy: Corners) -> bool:
    """Whether a box has no area as float32, in which it is kept."""
    x1, y1, x2, y2 = xyxy
    if x2 - x1 > 0.01 and y2 - y1 > 0.01:
        return False
    return not boxes.area(np.array(xyxy, np.float32)) > 0


def to_xyxy(numbers: Corners, layout: Layout, size: tuple[int, int]) -> Corners:
    """Numbers in a layout → corners in continuous pixels. Plain floats: a data set may hold a million boxes."""
    a, b, c, d = numbers
    if layout == "inclusive":
        return a - 1, b - 1, c, d  # pixel 1 spans 0..1, the last pixel w spans w-1..w
    if layout == "xywh":
        return a, b, a + c, b + d
    if layout == "centre":
        x, y, w, h = a * size[0], b * size[1], c * size[0], d * size[1]
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return a, b, c, d


def four(numbers: Any) -> Corners | None:
    """The four numbers of a box as a file gives them; None for anything else."""
    if not isinstance(numbers, list | tuple) or len(numbers) != 4:
        return None
    a, b, c, d = numbers if set(map(type, numbers)) == {float} else map(number, numbers)
    return None if a is None or b is None or c is None or d is None else (a, b, c, d)


def number(value: Any) -> float | None:
    """A JSON number, or text that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return None if isinstance(value, str) and "_" in value else float(value)  # Python reads 3_2 as 32
    except ValueError:
        return None
    except OverflowError:
        return math.inf
