"""Soft Jaccard by hand, and the line over ranks of entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgral.core.types import Boxes, Detections
from mgral.reward.detection_quality import expected_quality, quality, quality_by_rank, ranks


def truth(*rows: tuple[float, float, float, float, int], ignored: tuple[int, ...] = ()) -> Boxes:
    """Boxes x1, y1, x2, y2, class."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    flags = np.isin(np.arange(len(table)), ignored)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64), flags)


def found(*rows: tuple[float, float, float, float, int, float]) -> Detections:
    """Detections x1, y1, x2, y2, class, score."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    scores = table[:, 5]
    probs = np.stack([1 - scores, scores, 0 * scores], axis=1)
    return Detections(table[:, :4], scores, table[:, 4].astype(np.int64), probs)


def test_quality_by_hand() -> None:
    boxes = truth((0, 0, 10, 10, 0), (20, 0, 30, 10, 1))
    seen = found(
        (0, 0, 10, 10, 0, 0.8),  # matched
        (0, 0, 10, 10, 0, 0.4),  # the box is taken
        (20, 0, 30, 10, 0, 0.2),  # of another class
        (0, 0, 10, 4, 0, 0.1),  # overlaps by 0.4
    )
    assert quality(boxes, seen) == pytest.approx(0.8 / (2 + 0.7))
    assert quality(truth(), found()) == 0
    assert quality(truth(), seen) == 0
    assert quality(boxes, found()) == 0


def test_boxes_to_ignore_neither_count_nor_punish() -> None:
    boxes = truth((0, 0, 10, 10, 0), (20, 0, 30, 10, 0), ignored=(1,))
    seen = found((0, 0, 10, 10, 0, 1.0), (20, 0, 30, 10, 0, 0.5), (20, 0, 30, 10, 0, 0.5))
    assert quality(boxes, seen) == 1


def test_ranks() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == pytest.approx([0.5, 0, 0.5, 1])
    assert ranks(np.array([7.0])).tolist() == [0.5]
    assert ranks(np.zeros(0)).tolist() == []


def test_the_line_goes_through_two_points() -> None:
    # rank 0: a detection of score 1 (entropy 0) on its box: quality 1; rank 1: score 0.5 beside the box: 0
    held_out = {4: found((0, 0, 10, 10, 0, 1.0)), 7: found((50, 0, 60, 10, 0, 0.5))}
    boxes = truth((0, 0, 10, 10, 0))
    line = quality_by_rank([held_out], {4: boxes, 7: boxes, 9: boxes}, "softmax")
    assert line == pytest.approx((1, -1))
    # clipped to 0.02 at the lower end
    assert expected_quality(line, np.array([5.0, 1.0, 3.0])).tolist() == pytest.approx([0.02, 1, 0.5])


def test_the_line_of_several_splits_goes_through_the_points_of_all() -> None:
    """Image 4 is held out twice: found at rank 0 by the detector of one split, and not by that of the other."""
    boxes = truth((0, 0, 10, 10, 0))
    first = {4: found((0, 0, 10, 10, 0, 1.0)), 7: found((50, 0, 60, 10, 0, 0.5))}
    second = {4: found((50, 0, 60, 10, 0, 1.0)), 9: found((0, 0, 10, 10, 0, 0.5))}
    line = quality_by_rank([first, second], dict.fromkeys((4, 7, 9), boxes), "softmax")
    assert line == pytest.approx(((1 + 0) / 2, (0 + 0.5) / 2 - (1 + 0) / 2))


def test_too_few_points_for_a_line() -> None:
    boxes = truth((0, 0, 10, 10, 0))
    assert quality_by_rank([{}], {}, "softmax") == (1, 0)
    assert quality_by_rank([{4: found()}], {4: truth()}, "softmax") == (1, 0)  # an image without boxes says nothing
    one = quality_by_rank([{4: found((0, 0, 10, 10, 0, 0.5))}], {4: boxes}, "softmax")
    assert one == pytest.approx((0.5, 0))
    same = {i: found((0, 0, 10, 10, 0, 0.5)) for i in (4, 5)}
    line = quality_by_rank([same], {4: boxes, 5: boxes}, "softmax")
    assert line == pytest.approx((0.5, 0)) and math.isfinite(line[1])
