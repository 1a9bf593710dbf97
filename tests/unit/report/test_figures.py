"""Axes that do not mislead: mAP and AP begin at 0 at the lowest, and labels keep apart, however small the values."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.figure import Figure

from mgral.report import figures

LOOKS = figures.looks(["random", "mgral"], "random")


@pytest.mark.parametrize("values", [(0.0, 0.003), (0.0, 0.0), (0.3, 0.31), (0.02, 0.9), (0.97, 1.0)])
def test_a_curve_of_map_spans_a_tenth_and_begins_at_zero_or_above(values: tuple[float, float]) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], values)
    figures._widen(axes)
    low, high = axes.get_ylim()
    assert 0 <= low <= values[0] and values[1] <= high
    assert high - low >= figures.SPAN - 1e-9


@pytest.mark.parametrize("scale", [1e-4, 0.01, 0.5])
def test_labels_below_the_classes_keep_apart(scale: float) -> None:
    figure = figures.per_class({"random": [[scale], [1.7 * scale]], "mgral": [[0.0], [scale / 3]]}, ["a", "b"], LOOKS)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.get_xlim()[0] == 0
    spans = sorted(
        (box.x0, box.x1) for box in (tick.label1.get_window_extent() for tick in axes.xaxis.get_major_ticks())
    )
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))
