"""The plots of a report, one function each: data in, Figure out.

Each figure is small (4.6 inches wide), so that its 10-point letters stay readable on a telephone. Colours are
Okabe and Ito's (2008), then Tol's muted ones, safe for colour-blind readers; a strategy keeps its colour and
marker in all plots.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from sklearn.isotonic import isotonic_regression

from mgral.report import figure_names
from mgral.report.comparison import Curve, Difference
from mgral.report.figure_names import short
from mgral.report.learning_curves import spread, strategy_of
from mgral.report.published import Protocol

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PALETTE = (*OKABE_ITO, "#882255", "#999933", "#332288", "#44AA99", "#117733", "#AA4499", "#DDCC77")
GREY, FAINT, INK, GRID = "#777777", "#BBBBBB", "#222222", "#DDDDDD"
MARKERS = "sD^vPX*"
WIDTH, DPI = 4.6, 160
# of the mean curve of a detector that a strategy trained for itself
DASHED: Any = {"linewidth": 1.4, "linestyle": (0, (4, 1.5)), "markersize": 4, "markerfacecolor": "white", "zorder": 3}
FEW = 4  # strategies whose bands and seeds can lie over each other and stay legible
LINE = 0.055  # a line of 9-point letters, as a part of the height of a plot of curves
SPAN = 0.1  # of mAP, at least, in a plot of curves
NARROWEST = 0.03  # to either side of zero, at least, in a plot of differences
WIDEST = 1.5  # an interval is cut off so many ranges of the seeds' differences beyond them
HEIGHT = 3.5  # inches, of a plot of curves
TALLEST = 40.0  # inches, of a plot with a row a class
FONTS: Any = {"font.size": 10, "font.family": figure_names.FONT, "text.color": INK}


@dataclass(frozen=True)
class Look:
    """Colour and marker of a strategy."""

    colour: str
    marker: str


def looks(strategies: Sequence[str], reference: str | None) -> dict[str, Look]:
    """A look for each strategy, in their order; the reference is grey.

    Where strategies outnumber colours, those of one colour differ in their markers: the two counts share no factor.
    """
    others = [name for name in strategies if name != reference]
    found = {name: Look(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(others)}
    return {name: found.get(name, Look(GREY, "o")) for name in strategies}


def png(figure: Figure) -> bytes:
    """The figure as PNG; equal figures are equal bytes."""
    buffer = io.BytesIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names are names: a class called $x$ is no formula
    with rc_context({**FONTS, "text.parse_math": False}):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def curve(
    frame: pd.DataFrame,
    means: Sequence[Curve],
    looks: Mapping[str, Look],
    x: str,
    y: str,
    behind: Protocol | None = None,
    own: Sequence[Curve] = (),
) -> Figure:
    """Learning curves: the mean over seeds, named at its end.

    Of a few strategies also the band of the mean and each seed as a thin line; of many, see :func:`curves_apart`.

    Args:
        frame: as :func:`mgral.report.learning_curves.collect` gives it.
        means: the mean curves of the strategies.
        looks: colour and marker of each strategy.
        x: ``images`` or ``boxes``.
        y: ``mAP`` or ``AP50``.
        behind: published curves, drawn where they are of the same ``x`` and ``y``.
        own: of detectors that strategies trained for themselves, dashed in the strategy's colour.
    """
    height = HEIGHT * max(1.0, LINE * (len(means) + len(own) - 1))
    figure, (axes,) = canvas(height)
    ends: list[tuple[float, float, str, str]] = []
    if behind is not None and (x, y) == ("images", behind.measure):
        for line in behind.curves:
            heights = [value / 100 for value in line.percent]
            axes.plot(behind.images, heights, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1.5)
            ends.append((behind.images[-1], heights[-1], f"{line.name}, publ.", GREY))
    for mean in means:
        look = looks[mean.strategy]
        if len(looks) <= FEW:
            _seeds(axes, frame, mean, look, x, y)
        at, means_at = _mean(mean, x, y)
        axes.plot(at, means_at, color=look.colour, marker=look.marker, markersize=4.5, linewidth=2, zorder=3)
        ends.append((at[-1], means_at[-1], mean.strategy, look.colour))
    for mean in own:
        look = looks[strategy_of(mean.strategy)]
        at, means_at = _mean(mean, x, y)
        axes.plot(at, means_at, color=look.colour, marker=look.marker, **DASHED)
        ends.append((at[-1], means_at[-1], mean.strategy, look.colour))
    _widen(axes)
    _name_ends(axes, ends, LINE * HEIGHT / height)
    _name_axes(axes, x, y)
    if x == "images":
        axes.set_xticks(_cycle_ticks(frame))
    return figure


def curves_apart(
    frame: pd.DataFrame,
    means: Sequence[Curve],
    looks: Mapping[str, Look],
    x: str,
    y: str,
    own: Sequence[Curve] = (),
) -> Figure:
    """One panel a strategy: its mean, band and seeds, over the means of all others in grey.

    The reference (see :func:`looks`) is dashed in each panel and has a panel only if it is alone.

    Args:
        frame: as for :func:`curve`.
        means: as for :func:`curve`.
        looks: colour and marker of each strategy.
        x: as for :func:`curve`.
        y: as for :func:`curve`.
        own: as for :func:`curve`; in the panel of its strategy.
    """
    shown = [mean for mean in means if looks[mean.strategy].colour != GREY] or list(means)
    figure, panels = small_panels(len(shown), share=True)
    for mean, axes in zip(shown, panels, strict=True):
        for other in means:
            if looks[other.strategy].colour == GREY:
                axes.plot(*_mean(other, x, y), color=INK, linewidth=1.1, linestyle=(0, (3, 2)), zorder=2.5)
            else:
                axes.plot(*_mean(other, x, y), color=FAINT, linewidth=0.8, zorder=1.5)
        look = looks[mean.strategy]
        _seeds(axes, frame, mean, look, x, y)
        axes.plot(*_mean(mean, x, y), color=look.colour, marker=look.marker, markersize=4, linewidth=2, zorder=3)
        for line in own:
            if strategy_of(line.strategy) == mean.strategy:
                axes.plot(*_mean(line, x, y), color=look.colour, marker=look.marker, **DASHED)
        axes.set_title(short(mean.strategy, figure_names.PANEL), loc="left", fontsize=10, color=look.colour)
        if x == "images":
            axes.set_xticks(_cycle_ticks(frame, 3))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    _widen(panels[0])
    figure.supxlabel(f"labelled {x}", fontsize=10)
    figure.supylabel(f"test {y}", fontsize=10)
    return figure


def differences(shown: Sequence[Difference], looks: Mapping[str, Look], what: str, floor: float | None) -> Figure:
    """Paired differences to a reference, one row a strategy: seeds as small dots, below them mean and interval.

    Args:
        shown: of one reference and one measure; those without a mean are left out.
        looks: colour and marker of each strategy.
        what: the measure, for the axis.
        floor: differences up to here, up or down, are chance alone; None if that was not measured.
    """
    rows = [one for one in shown if one.mean is not None]
    figure, (axes,) = canvas(0.95 + 0.36 * len(rows))
    if floor is not None:
        axes.axvspan(-floor, floor, color=GRID, alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for row, one in enumerate(rows):
        look = looks[one.strategy]
        axes.plot(one.by_seed, [row - 0.24] * len(one.by_seed), "o", color=look.colour, markersize=2.8, zorder=3)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [row, row], color=look.colour, linewidth=2, zorder=2)
        filled = look.colour if one.verdict in ("better", "worse") else "white"
        axes.plot(
            [one.mean or 0.0], [row], look.marker, color=look.colour, markerfacecolor=filled, markersize=7,
            markeredgewidth=1.6, zorder=4,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [short(one.strategy) for one in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.set_xlim(*_window(rows, floor))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(what)
    return figure


def _window(rows: Sequence[Difference], floor: float | None) -> tuple[float, float]:
    """Limits that show zero, the floor and every seed, and of intervals as much as leaves the seeds apart.

    The interval of two seeds may be ten times as wide as their distance; whole, it would squeeze all else to a dot.
    """
    seen = [0.0, *(value for one in rows for value in one.by_seed), floor or 0.0, -(floor or 0.0)]
    reach = WIDEST * (max(seen) - min(seen)) or 0.01
    ends = [end for one in rows for end in (one.low, one.high) if end is not None]
    low = max(min([*seen, *ends]), min(seen) - reach)
    high = min(max([*seen, *ends]), max(seen) + reach)
    low, high = min(low, -NARROWEST), max(high, NARROWEST)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _mean(own: Curve, x: str, y: str) -> tuple[list[float], list[float]]:
    """The mean curve, as x and y of its points."""
    return [getattr(point, x) for point in own.points], [getattr(point, y).mean for point in own.points]


def _seeds(axes: Axes, frame: pd.DataFrame, own: Curve, look: Look, x: str, y: str) -> None:
    """Each seed as a thin line, and the band of the mean where it has one."""
    for _, line in frame[frame["strategy"] == own.strategy].groupby("seed"):
        axes.plot(line[x], line[y], color=look.colour, linewidth=0.7, alpha=0.45)
    found = [(getattr(point, x), getattr(point, y)) for point in own.points]
    band = np.array([(at, level.low, level.high) for at, level in found if level.low is not None], np.float64)
    if len(band):
        axes.fill_between(*band.T, color=look.colour, alpha=0.14, linewidth=0)


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(f"labelled {x}")
    axes.set_ylabel(f"test {y}")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _widen(axes: Axes) -> None:
    """Show at least :data:`SPAN` of mAP, within 0..1, so that a difference of 0.01 does not fill the plot."""
    low, high = axes.get_ylim()
    lack = max(0.0, SPAN - (high - low)) / 2
    low, high = low - lack, high + lack
    if low < 0:
        low, high = 0.0, high - low
    axes.set_ylim(low, high)


def _cycle_ticks(frame: pd.DataFrame, most: int = 7) -> list[float]:
    """The labelled images of the cycles, at most so many of them, the first and the last among these."""
    at = sorted(frame.groupby("cycle")["images"].mean())
    step = -(-(len(at) - 1) // (most - 1)) or 1
    return list(dict.fromkeys([*at[:-1:step], at[-1]]))


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Write names in the right margin, as near to the ends of their lines as they can stand without touching.

    Args:
        axes: the axes of the lines.
        ends: x, y, name and colour of each line.
        gap: between two names, as a part of the height of the axes.
    """
    right = axes.get_xlim()[1]
    axes.set(xlim=(axes.get_xlim()[0], right), ylim=axes.get_ylim())
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: (end[1], end[2]))
    places = spaced([(y - low) / (high - low) for _, y, _, _ in ends], gap)
    for (x, y, name, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            short(name), (x, y), (1.03, place), textcoords=axes.transAxes, color=colour, fontsize=9, va="center",
            arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.7, "shrinkA": 1, "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )  # fmt: skip


def spaced(wanted: Sequence[float], gap: float) -> list[float]:
    """Places at least ``gap`` apart and between 0 and 1, at the least sum of squared distances from those wanted.

    Less k · gap, the k-th of them must not fall: isotonic regression. Where 1 is too short for all, they overflow it.

    Args:
        wanted: [n], ascending.
        gap: least distance between two places.
    """
    steps = gap * np.arange(len(wanted))
    top = max(1 - steps[-1], 0.0)
    return list(isotonic_regression(np.asarray(wanted) - steps, y_min=0, y_max=top) + steps)


def per_class(
    values: Mapping[str, Sequence[Sequence[float | None]]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """AP of each class at the last cycle: mean over seeds, bar of one standard deviation.

    Args:
        values: strategy → class → AP by seed, None where undefined.
        classes: their names, in the order of ``values``.
        looks: colour and marker of each strategy.
    """
    figure = _rows(values, classes, looks)
    axes = figure.axes[0]
    axes.set_xlim(left=0)
    axes.set_xlabel("test AP at the last cycle")
    return figure


def class_balance(
    ratios: Mapping[str, Sequence[Sequence[float]]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """Share of a class among the picked boxes, divided by its share in the pool.

    Args:
        ratios: strategy → class → ratio by seed.
        classes: their names, in the order of ``ratios``.
        looks: colour and marker of each strategy.
    """
    figure = _rows(ratios, classes, looks)
    axes = figure.axes[0]
    axes.axvline(1, color=INK, linewidth=1, zorder=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("share among picked boxes ÷ share in the pool")
    return figure


def _rows(
    values: Mapping[str, Sequence[Sequence[float | None]]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """One row a class, one point a strategy: mean over seeds with a bar of one standard deviation."""
    columns = figure_names.columns(list(looks), 72 * WIDTH)
    figure, (axes,) = canvas(0.9 + 0.2 * -(-len(looks) // columns) + _row(looks) * len(classes))
    for k, (name, look) in enumerate(looks.items()):
        stats = [spread(v for v in seeds if v is not None) for seeds in values[name]]
        at = np.arange(len(classes)) + (k - (len(looks) - 1) / 2) * 0.62 / len(looks)
        axes.errorbar(
            [s[0] for s in stats], at, xerr=np.nan_to_num([s[1] for s in stats]), color=look.colour,
            marker=look.marker, markersize=5, linewidth=0, elinewidth=1.2, label=short(name),
        )  # fmt: skip
    axes.set_yticks(range(len(classes)), [name.replace("$", r"\$") for name in classes])  # no formula
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
    for edge in range(1, len(classes)):
        axes.axhline(edge - 0.5, color=GRID, linewidth=0.7)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False)
    return figure


def _row(looks: Mapping[str, Look]) -> float:
    """The height of a class's row, in inches."""
    return 0.16 + 0.1 * len(looks)


def rows_that_fit(looks: Mapping[str, Look]) -> int:
    """How many classes a plot of them shows: a taller picture is none that a browser shows well."""
    return max(8, int(TALLEST / _row(looks)))


def canvas(height: float, rows: int = 1, columns: int = 1, share: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of ``height`` inches and its axes, row by row."""
    with rc_context(FONTS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        axes.tick_params(color=GREY)
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
    return figure, panels


def small_panels(count: int, share: bool = False) -> tuple[Figure, list[Axes]]:
    """Small panels, two a row; one alone is large."""
    if count == 1:
        return canvas(3.4)
    rows = (count + 1) // 2
    figure, panels = canvas(0.4 + 1.9 * rows, rows, 2, share)
    for beyond in panels[count:]:
        beyond.remove()
        panels[count - 2].tick_params(labelbottom=True)
    return figure, panels[:count]
