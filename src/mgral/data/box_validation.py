"""Annotated objects: from numbers as a file gives them to boxes inside their image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mgral.core import boxes
from mgral.core.types import Boxes, Floats
from mgral.data.faults import Findings, shown
from mgral.data.image_files import is_name
from mgral.data.raw import Layout, RawObject, Sheet

TOLERANCE = 1.0
"""Pixels that a box may exceed its image by, as rounding makes it: it is clipped and counted. More is a fault."""

_NOISE = 1e-6  # pixels; an excess below it comes from floating point and is not worth counting


def judge(
    sheet: Sheet,
    layout: Layout,
    size: tuple[int, int],
    index: Mapping[str, int],
    seen: set[tuple[str, str]],
    report: Findings,
) -> Boxes:
    """The objects of one image that pass.

    Args:
        sheet: the image's annotation.
        layout: of its numbers.
        size: width and height of the image in pixels.
        index: position of each class name.
        seen: file and id of the objects judged before; this sheet's are added.
        report: takes the faults and counts clipped boxes.
    """
    rows, labels, ignore = [], [], []
    for item in sheet.objects:
        if (sheet.file, item.id) in seen:
            report.fault(sheet.file, item.id, "id stands twice", "give each annotation an id of its own")
            continue
        seen.add((sheet.file, item.id))
        if not is_name(item.label) or item.label not in index:
            what = f"unknown class {shown(item.label)}"
            report.fault(sheet.file, item.id, what, f"use one of: {', '.join(list(index)[:20])}")
            continue
        row = _corners(sheet.file, item, layout, size, report)
        if row is not None:
            rows.append(row)
            labels.append(index[item.label])
            ignore.append(item.ignore)
    if not rows:
        return Boxes.empty()
    return Boxes(np.stack(rows), np.array(labels, np.int64), np.array(ignore, np.bool_))


def _corners(file: str, item: RawObject, layout: Layout, size: tuple[int, int], report: Findings) -> Floats | None:
    """[4] float32 corners within the image, or None for a box that was left out."""
    width, height = size
    numbers = [number(value) for value in item.numbers] if isinstance(item.numbers, list | tuple) else []
    if len(numbers) != 4 or None in numbers:
        report.fault(file, item.id, f"box {shown(item.numbers)} is not four numbers", "correct or remove it")
        return None
    given = np.array(numbers, np.float64)
    said = ", ".join(f"{value:g}" for value in given)
    if not np.isfinite(given).all():
        report.fault(file, item.id, f"box ({said}) is not finite", "correct or remove it")
        return None
    sides = given[2:] - given[:2] if layout in ("xyxy", "inclusive") else given[2:]
    if (sides <= 0).any():
        report.fault(file, item.id, f"box ({said}) has no area", "correct or remove it")
        return None
    with np.errstate(over="ignore"):
        xyxy = _to_xyxy(given, layout, width, height)
        clipped = boxes.clip(xyxy, width, height)
        excess = float(np.abs(xyxy - clipped).max())
    corners = clipped.astype(np.float32)
    if excess > TOLERANCE:
        what = f"box ({said}) leaves the image ({width} x {height}) by {excess:.4g} px"
        report.fault(file, item.id, what, "correct or remove it")
        return None
    if boxes.area(corners) <= 0:
        what = f"box ({said}) has no area inside the image ({width} x {height})"
        report.fault(file, item.id, what, "correct or remove it")
        return None
    report.clipped += excess > _NOISE
    return corners


def _to_xyxy(numbers: np.ndarray, layout: Layout, width: int, height: int) -> np.ndarray:
    """[4] float64 in a layout → corners in continuous pixels."""
    if layout == "inclusive":
        return numbers - [1, 1, 0, 0]  # pixel 1 spans 0..1, the last pixel w spans w-1..w
    if layout == "xywh":
        return boxes.xywh_to_xyxy(numbers)
    if layout == "centre":
        return boxes.cxcywh_to_xyxy(numbers * [width, height, width, height])
    return numbers


def number(value: Any) -> float | None:
    """A JSON number, or text that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf
