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
from matplotlib.ticker import MaxNLocator

from mgral.curves import spread
from mgral.report.sources import Cell
from mgral.report.words import signed

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
PALETTE = (*OKABE_ITO, "#882255", "#999933", "#332288", "#44AA99")
GREY, INK, GRID = "#777777", "#222222", "#DDDDDD"
MARKERS = "sD^vPX*"
WIDTH, DPI = 4.6, 160
FONTS: Any = {"font.size": 10, "font.family": "DejaVu Sans", "text.color": INK}


@dataclass(frozen=True)
class Look:
    """Colour and marker of a strategy."""

    colour: str
    marker: str


def looks(strategies: Sequence[str], reference: str | None) -> dict[str, Look]:
    """A look for each strategy, in their order; the reference is grey."""
    others = [name for name in strategies if name != reference]
    found = {name: Look(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(others)}
    return {name: found.get(name, Look(GREY, "o")) for name in strategies}


def png(figure: Figure) -> bytes:
    """The figure as PNG; equal figures are equal bytes."""
    buffer = io.BytesIO()
    with rc_context(FONTS):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def curve(frame: pd.DataFrame, looks: Mapping[str, Look], x: str, y: str) -> Figure:
    """Learning curves: the mean over seeds, a band of one standard deviation, each seed as a thin line.

    Args:
        frame: as :func:`mgral.curves.collect` gives it.
        x: ``images`` or ``boxes``.
        y: ``mAP`` or ``AP50``.
    """
    figure, (axes,) = _canvas(3.5)
    for name, look in looks.items():
        own = frame[frame["strategy"] == name]
        for _, line in own.groupby("seed"):
            axes.plot(line[x], line[y], color=look.colour, linewidth=0.7, alpha=0.45)
        at = own.groupby("cycle")[x].mean()
        stats = [spread(values) for _, values in own.groupby("cycle")[y]]
        mean, deviation = np.array([s[0] for s in stats]), np.nan_to_num([s[1] for s in stats])
        axes.fill_between(at, mean - deviation, mean + deviation, color=look.colour, alpha=0.14, linewidth=0)
        axes.plot(at, mean, color=look.colour, marker=look.marker, markersize=4.5, linewidth=2, label=name)
    axes.set_xlabel({"images": "labelled images", "boxes": "labelled boxes"}[x])
    axes.set_ylabel(f"test {y}")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _legend(figure, len(looks))
    return figure


def per_class(
    values: Mapping[str, Sequence[Sequence[float | None]]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """AP of each class at the last cycle: mean over seeds, bar of one standard deviation.

    Args:
        values: strategy → class → AP by seed, None where undefined.
    """
    figure = _rows(values, classes, looks)
    figure.axes[0].set_xlabel("test AP at the last cycle")
    return figure


def class_balance(
    ratios: Mapping[str, Sequence[Sequence[float]]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """Share of a class among the picked boxes, divided by its share in the pool.

    Args:
        ratios: strategy → class → ratio by seed.
    """
    figure = _rows(ratios, classes, looks)
    axes = figure.axes[0]
    axes.axvline(1, color=INK, linewidth=1, zorder=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("share among picked boxes ÷ share in the pool")
    return figure


def timings(seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Wall time of each step, summed over its jobs."""
    totals = {step: sum(values) for step, values in seconds.items()}
    unit, name = (60, "minutes") if max(totals.values()) >= 300 else (1, "seconds")
    figure, (axes,) = _canvas(0.9 + 0.32 * len(totals))
    axes.barh(range(len(totals)), [total / unit for total in totals.values()], color=PALETTE[0], height=0.62)
    axes.set_yticks(range(len(totals)), list(totals))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{name}, all jobs of the step together")
    return figure


def table_error(audits: Sequence[Cell], look: Look) -> Figure:
    """Estimated against trained gain of held-out records, one panel a cycle.

    Both are given relative to the mean of their own table's records: levels differ between seeds and cycles,
    and pooled levels would correlate even where the table knows nothing.
    """
    cycles = sorted({cell.cycle for cell in audits})
    figure, panels = _small(len(cycles), share=True)
    limit = 0.0
    for cycle, axes in zip(cycles, panels, strict=True):
        own = [cell.value for cell in audits if cell.cycle == cycle]
        points = np.concatenate([_centred(audit["points"]) for audit in own])
        limit = max(limit, float(np.abs(points).max(initial=0)))
        axes.axline((0, 0), slope=1, color=INK, linewidth=1)
        axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (3, 3)))
        axes.scatter(points[:, 0], points[:, 1], s=16, color=look.colour, alpha=0.65, linewidth=0)
        rank = spread(audit["spearman"] for audit in own if audit["spearman"] is not None)[0]
        axes.set_title(f"cycle {cycle}, ρ {signed(rank, 2)}", loc="left", fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(3))
    reach = 1.08 * limit or 0.01
    panels[0].set(xlim=(-reach, reach), ylim=(-reach, reach))
    figure.supxlabel("trained gain − mean of the table (mAP)", fontsize=10)
    figure.supylabel("estimated gain − mean", fontsize=10)
    return figure


def search(searches: Sequence[Cell], look: Look) -> Figure:
    """Reward (dots) and its moving average, the baseline (lines), over the search; one panel a cycle."""
    cycles = sorted({cell.cycle for cell in searches})
    figure, panels = _small(len(cycles))
    for cycle, axes in zip(cycles, panels, strict=True):
        for frame in (cell.value for cell in searches if cell.cycle == cycle):
            axes.plot(frame["iteration"], frame["reward"], ".", markersize=1.6, color=GREY, alpha=0.5)
            axes.plot(frame["iteration"], frame["baseline"], color=look.colour, linewidth=1.1, alpha=0.85)
        axes.set_title(f"cycle {cycle}", loc="left", fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("iteration", fontsize=10)
    figure.supylabel("gain over random (mAP)", fontsize=10)
    return figure


def _centred(points: Sequence[Mapping[str, float]]) -> np.ndarray:
    """[n, 2] trained and estimated gain in mAP, less the mean trained one; points without estimate are left out."""
    known = [(p["trained"], p["estimated"]) for p in points if p["estimated"] is not None]
    pairs = np.asarray(known, np.float64).reshape(-1, 2)
    return pairs - pairs[:, 0].mean() if len(pairs) else pairs


def _rows(
    values: Mapping[str, Sequence[Sequence[float | None]]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """One row a class, one point a strategy: mean over seeds with a bar of one standard deviation."""
    figure, (axes,) = _canvas(1.1 + (0.16 + 0.1 * len(looks)) * len(classes))
    for k, (name, look) in enumerate(looks.items()):
        stats = [spread(v for v in seeds if v is not None) for seeds in values[name]]
        at = np.arange(len(classes)) + (k - (len(looks) - 1) / 2) * 0.62 / len(looks)
        axes.errorbar(
            [s[0] for s in stats], at, xerr=np.nan_to_num([s[1] for s in stats]), color=look.colour,
            marker=look.marker, markersize=5, linewidth=0, elinewidth=1.2, label=name,
        )  # fmt: skip
    axes.set_yticks(range(len(classes)), list(classes))
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    for edge in range(1, len(classes)):
        axes.axhline(edge - 0.5, color=GRID, linewidth=0.7)
    _legend(figure, len(looks))
    return figure


def _canvas(height: float, rows: int = 1, columns: int = 1, share: bool = False) -> tuple[Figure, list[Axes]]:
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


def _small(count: int, share: bool = False) -> tuple[Figure, list[Axes]]:
    """Small panels, two a row; one alone is large."""
    if count == 1:
        return _canvas(3.4)
    rows = (count + 1) // 2
    figure, panels = _canvas(0.4 + 1.9 * rows, rows, 2, share)
    for beyond in panels[count:]:
        beyond.remove()
        panels[count - 2].tick_params(labelbottom=True)
    return figure, panels[:count]


def _legend(figure: Figure, entries: int) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(entries, 3), frameon=False)
