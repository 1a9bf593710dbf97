"""When the numbers of boxes are judged to be of another layout: by how many do not fit, and how many fit in both."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mgral.core.errors import MgralError
from mgral.data import plausibility
from mgral.data.faults import Findings
from mgral.data.raw import Layout, RawObject, Sheet

SIZE = (100, 80)
SWAPPED = [32.0, 7, 9, 24]  # no corners; as left, top, width, height inside the image
OUTSIDE = [20.0, 20, 90, 70]  # no left, top, width, height; as corners inside


def both_ways(count: int) -> list[list[float]]:
    """Different boxes that fit in their image as corners, and as left, top, width, height."""
    chance = random.Random(0)
    return [[x := chance.uniform(1, 30), y := chance.uniform(1, 30), x + 8, y + 6] for _ in range(count)]


def judge(layout: Layout, boxes: list[list[float]]) -> list[str]:
    """What is said of a set of boxes, each in an image of its own."""
    report = Findings(Path("set"), "drop")
    sheets = [(Sheet(f"{k}.xml", [RawObject("object 1", "car", box)]), SIZE) for k, box in enumerate(boxes)]
    plausibility.check_layout(layout, sheets, report)
    return report.notes


@pytest.mark.parametrize(("layout", "wrong"), [("inclusive", SWAPPED), ("xyxy", SWAPPED), ("xywh", OUTSIDE)])
def test_one_or_two_of_a_few_boxes_are_faults_of_their_own(layout: Layout, wrong: list[float]) -> None:
    for count in (1, 2):
        (note,) = judge(layout, both_ways(10 - count) + [wrong] * count)
        assert f"{count} of 10 boxes do not fit" in note


@pytest.mark.parametrize(("layout", "wrong"), [("inclusive", SWAPPED), ("xyxy", SWAPPED), ("xywh", OUTSIDE)])
@pytest.mark.parametrize(("fitting", "count"), [(0, 3), (9, 3), (19, 1)])
def test_many_that_do_not_fit_or_many_that_fit_in_both_ways_refuse_the_set(
    layout: Layout, wrong: list[float], fitting: int, count: int
) -> None:
    with pytest.raises(MgralError, match=f"{count} of {fitting + count} boxes do not fit .* and all fit as"):
        judge(layout, both_ways(fitting) + [wrong] * count)


def test_the_same_box_again_and_again_is_no_evidence() -> None:
    assert judge("inclusive", both_ways(1) * 30 + [SWAPPED])


def test_one_box_that_fits_only_as_it_is_taken_settles_it() -> None:
    assert judge("inclusive", [*both_ways(30), [60.0, 50, 95, 75], SWAPPED, SWAPPED, SWAPPED]) == []


def test_shares_that_fit_in_two_other_ways_are_called_by_both() -> None:
    """0.1 + 0.5 is inside as a side, 0.1 - 0.25 is outside as a centre; as corners 0.6 to 0.9 only leaves one way."""
    (note,) = judge("centre", [[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.5, 0.5]])
    assert "2 of 2 boxes" in note
    assert "all fit as corners x1, y1, x2, y2, or as left, top, width, height: if they are meant so" in note
    (note,) = judge("centre", [[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]])
    assert "all fit as corners x1, y1, x2, y2: if they are meant so" in note
