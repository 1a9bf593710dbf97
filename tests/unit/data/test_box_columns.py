"""Judging by columns gives what judging one by one gives, and leaves all that is unusual to it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from mgral.data import box_columns, box_validation
from mgral.data.faults import Findings
from mgral.data.raw import Layout, RawObject, Sheet

SIZE = (64, 48)
INDEX = {"car": 0, "dog": 1}


def _objects(rng: np.random.Generator, layout: Layout) -> list[RawObject]:
    """Up to five objects near the border, of all kinds of numbers; now and then one twice."""
    objects: list[RawObject] = []
    for k in range(int(rng.integers(0, 6))):
        a, b, c, d = (
            rng.choice([1.0, 2.5, 10.0]),
            rng.choice([1.0, 12.5]),
            rng.choice([3.0, 24.0]),
            rng.choice([8.0, 30]),
        )
        if rng.random() < 0.2:  # at the border, or none
            a, b = rng.choice([0.0, 0.5, 30.25, 61.0]), rng.choice([0.0, 40.0])
            c, d = rng.choice([0.0, 1e-9, 3.0, 64.0]), rng.choice([0.0, 8.0, 48.0, np.nan])
        numbers = [a, b, a + c, b + d] if layout in ("xyxy", "inclusive") else [a, b, c, d]
        if layout == "centre":
            numbers = [(a + c / 2) / 64, (b + d / 2) / 48, c / 64, d / 48]
        given = [number if rng.random() < 0.9 else str(number) for number in numbers]
        item = RawObject(k, str(rng.choice(["car", "dog"])), given, bool(rng.random() < 0.2))
        objects += [item] * (1 + (rng.random() < 0.1))
    return objects


@pytest.mark.parametrize("layout", get_args(Layout))
def test_columns_agree_with_judging_one_by_one(layout: Layout) -> None:
    rng = np.random.default_rng(0)
    sheets = [(Sheet(f"{k}.json", _objects(rng, layout)), SIZE) for k in range(400)]
    by_columns = box_columns.sound(sheets, layout, INDEX)
    taken = 0
    for (sheet, size), found in zip(sheets, by_columns, strict=True):
        report = Findings(Path(), "drop")
        one_by_one = box_validation.judge(sheet, layout, size, INDEX, report)
        if found is None:
            continue
        taken += bool(sheet.objects)
        assert (report.dropped, report.clipped, report._counted) == ([], 0, {})
        assert one_by_one is not None
        for name in ("xyxy", "labels", "ignore"):
            ours, theirs = getattr(found, name), getattr(one_by_one, name)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    assert 100 < taken < 380


@pytest.mark.parametrize(
    "item",
    [
        RawObject(1, "cat", [1, 1, 5, 5]),
        RawObject(1, 0, [1, 1, 5, 5]),
        RawObject(1, ["car"], [1, 1, 5, 5]),
        RawObject(1, "car", [1, 1, 5]),
        RawObject(1, "car", None),
        RawObject(1, "car", [1, 1, 5, True]),
        RawObject(1, "car", [1, 1, 5, 10**400]),
        RawObject(1, "car", [1, 1, 5, 5], "difficult 2 is neither yes nor no"),
        RawObject(1, "car", [1, 1, 5, 5], fault="two boxes in one object"),
    ],
)
def test_what_is_unusual_is_left_to_judge(item: RawObject) -> None:
    plain = Sheet("b.json", [RawObject(1, "car", [1, 1, 5, 5])])
    found = box_columns.sound([(Sheet("a.json", [item]), SIZE), (plain, SIZE)], "xywh", INDEX)
    assert found[0] is None
    assert found[1] is not None
