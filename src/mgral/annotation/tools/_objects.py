"""Objects of COCO and VOC files, read as those of a data set are, as boxes of an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mgral.annotation.exchange import AnswerBox
from mgral.core.errors import MgralError, shown
from mgral.data.box_validation import four, to_xyxy
from mgral.data.faults import Findings
from mgral.data.image_files import is_name
from mgral.data.raw import Layout, RawObject


def findings() -> Findings:
    """What takes the faults of returned files, which are named by their places: the first one is raised."""
    return Findings(Path())


def around(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float, float, float]:
    """Corners of the upright box around some points; NaN if a point is not finite, which no order may hide."""
    if not all(map(math.isfinite, (*xs, *ys))):
        return math.nan, math.nan, math.nan, math.nan
    return min(xs), min(ys), max(xs), max(ys)


def box(item: RawObject, layout: Layout, place: str, hull: bool = False) -> AnswerBox:
    """An object as a box of an answer.

    Args:
        item: as the file has it.
        layout: of its numbers; in pixels.
        place: of the file, for messages.
        hull: whether the box is the hull of another shape.

    Raises:
        MgralError: an object that is not whole, so that it is not clear what lies there.
    """
    found, what = four(item.numbers), item.fault
    if not what and isinstance(item.ignore, str):
        what = item.ignore
    if not what and not is_name(item.label):
        what = f"{shown(item.label)} is no class"
    if not what and found is None:
        what = f"box {shown(item.numbers)} is not four numbers"
    if found is not None and not what and not all(map(math.isfinite, found)):
        what = f"box {shown(item.numbers)} is not finite"
    if what or found is None:
        raise MgralError(f"{place}: {item.name}: {what}; correct or remove it")
    return AnswerBox(item.label, to_xyxy(found, layout, (1, 1)), hull=hull, ignore=bool(item.ignore))
