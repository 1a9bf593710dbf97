"""Names in figures: of any script and length they stay within the picture, apart, and legible."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mgral.report import comparison, figure_names, figures, learning_curves

ODD = [
    '$x_1$ & "q"',
    "<script>",
    "قطة سوداء",
    "名前" * 20,
    "🚗 car",
    "a" * 90,
    "a" * 45 + "b" + "a" * 44,
    "tab\tname",
    "",
]


def curves(names: list[str], seeds: int = 2) -> tuple[pd.DataFrame, list[comparison.Curve]]:
    rows = [
        (name, seed, cycle, 10 + 10 * cycle, 20 + 10 * cycle, 0.3 + 0.001 * k * cycle, 0.5)
        for k, name in enumerate(names)
        for seed in range(seeds)
        for cycle in range(3)
    ]
    frame = pd.DataFrame(rows, columns=learning_curves.COLUMNS)
    return frame, comparison.compare(frame, None).curves


def rendered(figure: Figure) -> Any:
    """The renderer, after a drawing in which a warning is an error: a letter without a glyph, axes that vanish."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.png(figure)
    figure.set_dpi(figures.DPI)
    figure.draw_without_rendering()
    return figure.canvas.get_renderer()


def within(figure: Figure, box: Any) -> bool:
    return bool(box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1)


def test_names_are_shortened_in_their_middle() -> None:
    assert figure_names.short("short") == "short"
    assert re.fullmatch("a_lo.*….*nd_0", figure_names.short("a_long_name_with_an_end_0", 75))
    for name in ODD:
        assert figure_names.width(figure_names.short(name)) <= figure_names.LONGEST


def test_a_name_that_cannot_be_drawn_or_told_apart_is_numbered_and_explained() -> None:
    shown, key = figure_names.drawn(ODD, "class")
    assert len(set(shown)) == len(ODD) and shown[:2] == ODD[:2]
    assert [k for k, name in enumerate(shown) if name.startswith("class ")] == [3, 4, 5, 6, 7]
    assert f"class 4: {ODD[3]}; class 5: 🚗 car" in key
    assert figure_names.drawn(["cat", "dog"], "class") == (["cat", "dog"], "")


def test_rows_of_odd_classes_leave_room_for_the_plot() -> None:
    looks = figures.looks(["random", "entropy"], "random")
    names, _ = figure_names.drawn(ODD, "class")
    figure = figures.per_class({name: [[0.1, 0.2]] * len(ODD) for name in looks}, names, looks)
    renderer, axes = rendered(figure), figure.axes[0]
    assert axes.bbox.width > 0.4 * figure.bbox.width
    assert all(within(figure, label.get_window_extent(renderer)) for label in axes.get_yticklabels())


@pytest.mark.parametrize(("count", "letters"), [(2, 3), (3, 13), (5, 20), (5, 24), (6, 60), (30, 12)])
def test_a_legend_stays_within_its_picture(count: int, letters: int) -> None:
    looks = figures.looks([f"{k:02d}" + "m" * (letters - 2) for k in range(count)], None)
    figure = figures.per_class({name: [[0.1, 0.2]] * 9 for name in looks}, list("abcdefghi"), looks)
    renderer = rendered(figure)
    texts = [text.get_window_extent(renderer) for text in figure.legends[0].get_texts()]
    assert all(within(figure, box) for box in texts)
    assert not any(one.overlaps(other) for k, one in enumerate(texts) for other in texts[:k])


@pytest.mark.parametrize(("count", "letters"), [(3, 60), (30, 6)])
def test_names_at_the_ends_of_many_curves_stay_apart_and_in_sight(count: int, letters: int) -> None:
    names = [f"{k:02d}" + "m" * (letters - 2) for k in range(count)]
    frame, means = curves(names)
    figure = figures.curve(frame, means, figures.looks(names, None), "images", "mAP")
    renderer, axes = rendered(figure), figure.axes[0]
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == count and all(within(figure, box) for box in boxes)
    apart = np.diff(sorted(box.y0 + box.height / 2 for box in boxes))
    assert min(apart) >= 9 / 72 * figures.DPI  # letters of 9 points
    assert axes.bbox.width > 0.3 * figure.bbox.width


def test_titles_of_panels_do_not_touch() -> None:
    names = [f"a_very_long_name_of_a_strategy_{k}" for k in range(5)]
    frame, means = curves(names)
    figure = figures.curves_apart(frame, means, figures.looks(names, None), "images", "mAP")
    renderer = rendered(figure)
    titles = [axes._left_title.get_window_extent(renderer) for axes in figure.axes]
    assert not any(one.overlaps(other) for k, one in enumerate(titles) for other in titles[:k])
    assert all(within(figure, box) for box in titles)


def test_panels_span_as_much_of_map_as_the_plot_of_all() -> None:
    names = ["a", "b", "c"]
    frame, means = curves(names)  # they differ by 0.004
    figure = figures.curves_apart(frame, means, figures.looks(names, None), "images", "mAP")
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert high - low >= figures.SPAN - 1e-9


@pytest.mark.parametrize(("classes", "strategies"), [(1203, 4), (80, 30), (80, 2)])
def test_a_plot_of_classes_is_one_that_a_browser_shows(classes: int, strategies: int) -> None:
    looks = figures.looks([f"s{k}" for k in range(strategies)], None)
    most = figures.rows_that_fit(looks)
    shown = [f"class {k}" for k in range(min(classes, most))]
    figure = figures.per_class({name: [[0.1]] * len(shown) for name in looks}, shown, looks)
    assert most >= 8 and figure.get_figheight() * figures.DPI < 8000
