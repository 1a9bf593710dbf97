"""The learning curve continued: known curves are found again, and the interval holds what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.report import stopping


def curve(n: float) -> float:
    """0.8 − 2 / √n: 0.6 at 100 images, 0.7 at 400."""
    return 0.8 - 2 * n**-0.5


def test_a_curve_without_chance_is_continued_exactly() -> None:
    points = [(n, curve(n)) for n in (25, 50, 100, 100)]
    (gain,) = stopping.extrapolate(points, [300], 1e-4)["gains"]
    assert gain["gain"] == pytest.approx(0.1, abs=0.003)
    assert gain["low"] < 0.1 < gain["high"]
    assert stopping.sentence({"images": 200, "gain": 0.0312, "low": 0.012, "high": 0.05}) == (
        "Another 200 images are expected to bring +0.031 mAP (90 % interval +0.012 to +0.050)"
    )


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_nine_times_in_ten() -> None:
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        a, b, c = rng.uniform(0.4, 0.9), rng.uniform(0.5, 2.0), rng.uniform(0.2, 1.2)
        points = [(n, a - b * n**-c + rng.normal(0, 0.01)) for n in (50, 50, 100, 100, 200, 200, 200)]
        (gain,) = stopping.extrapolate(points, [200], None)["gains"]
        held += gain["low"] <= b * (200**-c - 400**-c) <= gain["high"]
    assert 82 <= held <= 98  # of a binomial distribution with 0.9, 99 % lie within 82 and 97


def test_more_chance_means_a_wider_interval_and_more_images_a_larger_gain() -> None:
    points = [(n, curve(n)) for n in (25, 50, 100)]
    narrow, wide = (stopping.extrapolate(points, [50, 200], sigma)["gains"] for sigma in (0.003, 0.03))
    assert narrow[1]["high"] - narrow[1]["low"] < wide[1]["high"] - wide[1]["low"]
    assert narrow[0]["gain"] < narrow[1]["gain"]


def test_a_curve_that_does_not_rise_promises_nothing() -> None:
    points = [(25, 0.4), (50, 0.3), (100, 0.2)]
    (gain,) = stopping.extrapolate(points, [100], 0.001)["gains"]
    assert 0 <= gain["gain"] < 0.02


def test_too_few_points_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MgralError, match=r"stopping\.shares: 2 sizes of the pool"):
        stopping.extrapolate([(10, 0.1), (20, 0.2), (20, 0.21)], [10], 0.01)
    with pytest.raises(MgralError, match="chance is not known"):
        stopping.extrapolate([(10, 0.1), (20, 0.2), (40, 0.3)], [10], None)
    write_json(tmp_path / "stopping.json", {"gains": [{}]})
    with pytest.raises(MgralError, match="no extrapolation of a curve"):
        stopping.read(tmp_path / "stopping.json")
