"""Plots of a strategy's lookup table and search: how well gains are predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgral.report.figures import GREY, INK, MARKERS, NARROWEST, Look, canvas, small_panels
from mgral.report.learning_curves import spread
from mgral.report.sources import Cell
from mgral.report.text import signed


def predicted(points: Sequence[tuple[int, float, float]], look: Look) -> Figure:
    """Realised against predicted gain of the chosen batches over random ones, a marker a cycle.

    Args:
        points: cycle, predicted and realised gain in mAP of each chosen batch.
        look: of the strategy.
    """
    figure, (axes,) = canvas(3.4)
    reach = 1.1 * max([NARROWEST, *(abs(value) for point in points for value in point[1:])])
    axes.axline((0, 0), slope=1, color=INK, linewidth=1)
    axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (3, 3)))
    for k, cycle in enumerate(sorted({point[0] for point in points})):
        own = [point[1:] for point in points if point[0] == cycle]
        marker = MARKERS[k % len(MARKERS)]
        axes.plot(*zip(*own, strict=True), marker, color=look.colour, alpha=0.75, label=f"cycle {cycle}")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.set_xlabel("predicted gain (mAP)")
    axes.set_ylabel("realised gain (mAP)")
    axes.legend(frameon=False, fontsize=9)
    return figure


def table_error(audits: Sequence[Cell], look: Look) -> Figure:
    """Estimated against trained gain of held-out records, one panel a cycle.

    Both are given relative to the mean of their own table's records: levels differ between seeds and cycles,
    and pooled levels would correlate even where the table knows nothing.
    """
    cycles = sorted({cell.cycle for cell in audits})
    figure, panels = small_panels(len(cycles), share=True)
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


def search(searches: Sequence[Cell], audits: Sequence[Cell], look: Look) -> Figure:
    """Reward (dots) and its moving average, the baseline (lines), over the search; one panel a cycle.

    What lies above the dashed lines, the largest gain among the trained records of each table, has not been seen: the
    table extrapolates there.
    """
    cycles = sorted({cell.cycle for cell in searches})
    figure, panels = small_panels(len(cycles))
    for cycle, axes in zip(cycles, panels, strict=True):
        for frame in (cell.value for cell in searches if cell.cycle == cycle):
            axes.plot(frame["iteration"], frame["reward"], ".", markersize=1.6, color=GREY, alpha=0.5)
            axes.plot(frame["iteration"], frame["baseline"], color=look.colour, linewidth=1.1, alpha=0.85)
        tables = [cell.value["points"] for cell in audits if cell.cycle == cycle]
        best = [max(point["trained"] for point in points) for points in tables if points]
        for gain in best:
            axes.axhline(gain, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2.5)
        if best:
            axes.margins(y=0.15)  # room for the name above the line
            axes.annotate(
                "best trained record", (1, max(best)), (0, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="bottom", fontsize=8,
            )  # fmt: skip
        axes.set_title(f"cycle {cycle}", loc="left", fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("iteration", fontsize=10)
    figure.supylabel("predicted gain (mAP)", fontsize=10)
    return figure


def _centred(points: Sequence[Mapping[str, float]]) -> np.ndarray:
    """[n, 2] trained and estimated gain in mAP, less the mean trained one; points without estimate are left out."""
    known = [(p["trained"], p["estimated"]) for p in points if p["estimated"] is not None]
    pairs = np.asarray(known, np.float64).reshape(-1, 2)
    return pairs - pairs[:, 0].mean() if len(pairs) else pairs
