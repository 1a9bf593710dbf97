"""Box arithmetic on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.core import boxes


def test_conversions_of_one_box() -> None:
    # left 10, top 20, 30 wide, 40 high: right 40, bottom 60, centre (25, 40)
    assert boxes.xywh_to_xyxy([10, 20, 30, 40]).tolist() == [10, 20, 40, 60]
    assert boxes.xyxy_to_xywh([10, 20, 40, 60]).tolist() == [10, 20, 30, 40]
    assert boxes.cxcywh_to_xyxy([25, 40, 30, 40]).tolist() == [10, 20, 40, 60]


def test_area_of_a_box_with_crossed_corners_is_zero() -> None:
    assert boxes.area([[0, 0, 3, 2], [5, 0, 3, 2], [5, 5, 3, 2]]).tolist() == [6, 0, 0]


def test_iou() -> None:
    # 2x2 and 2x2 shifted by (1, 1): they share 1, together 4 + 4 - 1 = 7
    # 2x2 inside 4x4: shares 4 of 16; apart: 0; touching edges share nothing
    a = [[0, 0, 2, 2], [0, 0, 4, 4]]
    b = [[1, 1, 3, 3], [0, 0, 2, 2], [2, 0, 4, 2], [9, 9, 10, 10]]
    expected = [[1 / 7, 1, 0, 0], [4 / 16, 4 / 16, 4 / 16, 0]]
    assert boxes.iou(a, b) == pytest.approx(np.array(expected))


def test_iou_without_boxes_or_area() -> None:
    assert boxes.iou(np.zeros((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.iou([[0, 0, 1, 1]], []).shape == (1, 0)
    assert boxes.iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]).tolist() == [[0]]


def test_clip() -> None:
    given_boxes = [[-5, -1, 12, 7], [11, 2, 14, 3]]
    assert boxes.clip(given_boxes, width=10, height=6).tolist() == [[0, 0, 10, 6], [10, 2, 10, 3]]


def test_whole_numbers_do_not_stay_whole() -> None:
    # centre 1, width 1: edges at 0.5 and 1.5, which integer arithmetic would lose
    assert boxes.cxcywh_to_xyxy(np.array([1, 1, 1, 1])).tolist() == [0.5, 0.5, 1.5, 1.5]


def test_float32_stays_float32() -> None:
    assert boxes.clip(np.ones((3, 4), np.float32), 2, 2).dtype == np.float32


corners = st.tuples(*[st.integers(0, 1000)] * 4).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1]
)


@given(st.lists(corners, min_size=1, max_size=5), st.lists(corners, min_size=1, max_size=5))
def test_iou_is_symmetric_and_one_with_itself(a: list[list[int]], b: list[list[int]]) -> None:
    assert np.array_equal(boxes.iou(a, b), boxes.iou(b, a).T)
    assert np.array_equal(np.diag(boxes.iou(a, a)), np.ones(len(a)))
    assert np.array_equal(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(a)), np.asarray(a))
