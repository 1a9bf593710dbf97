"""Annotated objects of many images at once: what is plainly sound needs no look at each box.

The same arithmetic as ``box_validation``, by columns. Whatever is unusual about an image's objects is left to that
module, which judges one by one and finds the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from mgral.core import boxes
from mgral.core.types import Bools, Boxes, Doubles, Ints
from mgral.data.box_validation import number
from mgral.data.raw import Layout, Sheet


def sound(
    sheets: Sequence[tuple[Sheet, tuple[int, int]]], layout: Layout, index: Mapping[str, int]
) -> list[Boxes | None]:
    """The boxes of each image whose objects are all plainly sound; None for any other.

    Plainly sound: a known class, flags that mean something, four finite numbers, inside the image with an area as
    float32, and no box there twice.

    Args:
        sheets: annotations, each with width and height of its image in pixels.
        layout: of the numbers.
        index: position of each class name.
    """
    made: list[Boxes | None] = [None] * len(sheets)
    regular = [k for k, (sheet, _) in enumerate(sheets) if _regular(sheet, index)]
    objects = [sheets[k][0].objects for k in regular]
    counts = [len(items) for items in objects]
    values = chain.from_iterable(item.numbers for items in objects for item in items)
    given = [value if type(value) is float else number(value) for value in values]
    numbers = np.array(given, np.float64).reshape(-1, 4)  # None becomes NaN
    owner = np.repeat(np.arange(len(regular)), counts)
    sizes = np.array([sheets[k][1] for k in regular], np.float64).reshape(-1, 2)[owner]
    with np.errstate(all="ignore"):
        corners = _corners(numbers, layout, sizes)
        xyxy = corners.astype(np.float32)
        fit = _fit(numbers, corners, xyxy, layout, sizes)
    doubtful = {*owner[~fit].tolist(), *owner[_repeated(owner, corners)].tolist()}
    labels = np.array([index[item.label] for items in objects for item in items], np.int64)
    ignore = np.array([item.ignore for items in objects for item in items], np.bool_)
    end = 0
    for place, (k, count) in enumerate(zip(regular, counts, strict=True)):
        start, end = end, end + count
        if place not in doubtful:
            made[k] = Boxes(xyxy[start:end], labels[start:end], ignore[start:end])
    return made


def _regular(sheet: Sheet, index: Mapping[str, int]) -> bool:
    """Whether all but the numbers of an image's objects is sound, and these are four each."""
    for item in sheet.objects:
        if item.fault is not None or type(item.ignore) is not bool:
            return False
        if type(item.label) is not str or item.label not in index:
            return False
        if type(item.numbers) not in (list, tuple) or len(item.numbers) != 4:
            return False
    return True


def _corners(numbers: Doubles, layout: Layout, sizes: Doubles) -> boxes.Array:
    """[n, 4] numbers in a layout → corners in continuous pixels, as :func:`mgral.data.box_validation.to_xyxy`."""
    if layout == "inclusive":
        first: Doubles = numbers - np.array([1.0, 1.0, 0.0, 0.0])
        return first
    if layout == "xywh":
        return boxes.xywh_to_xyxy(numbers)
    if layout == "centre":
        return boxes.cxcywh_to_xyxy(numbers * np.concatenate([sizes, sizes], axis=1))
    return numbers


def _fit(numbers: Doubles, corners: boxes.Array, xyxy: boxes.Array, layout: Layout, sizes: Doubles) -> Bools:
    """[n] whether boxes are finite, in order, inside their image and of some area."""
    sides = numbers[:, 2:] - numbers[:, :2] if layout in ("xyxy", "inclusive") else numbers[:, 2:]
    inside = (corners[:, :2] >= 0).all(axis=1) & (corners[:, 2:] <= sizes).all(axis=1)
    found: Bools = np.isfinite(numbers).all(axis=1) & (sides > 0).all(axis=1) & inside & (boxes.area(xyxy) > 0)
    return found


def _repeated(owner: Ints, corners: boxes.Array) -> Bools:
    """[n] whether the next box, in order of owner and corners, is the same one."""
    order = np.lexsort((*corners.T, owner))
    same = (owner[order][1:] == owner[order][:-1]) & (corners[order][1:] == corners[order][:-1]).all(axis=1)
    found = np.zeros(len(owner), np.bool_)
    found[order[1:]] = same
    return found
