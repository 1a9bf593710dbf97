"""Plots of the training and of the data: losses, times, box sizes, a map of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgral.core.types import Bools, Doubles, Floats
from mgral.report.figure_names import PANEL, short
from mgral.report.figures import FAINT, INK, PALETTE, Look, canvas, small_panels

BINS = 24
SMOOTHED = 40  # parts of a training over which its losses are averaged


def losses(curves: Mapping[str, Mapping[int, pd.DataFrame]], looks: Mapping[str, Look]) -> Figure:
    """Training loss of the detector over steps, one panel a cycle, averaged over 1/40 of the training.

    Args:
        curves: strategy → cycle → columns ``step`` and ``loss`` of train.csv.
        looks: of the strategies.
    """
    cycles = sorted({cycle for by_cycle in curves.values() for cycle in by_cycle})
    figure, panels = small_panels(len(cycles), share=len(cycles) > 1)
    for cycle, axes in zip(cycles, panels, strict=True):
        for name, by_cycle in curves.items():
            if cycle in by_cycle:
                frame = by_cycle[cycle]
                mean = frame["loss"].rolling(max(1, len(frame) // SMOOTHED), min_periods=1).mean()
                axes.plot(frame["step"], mean, color=looks[name].colour, linewidth=1.3, alpha=0.85)
        axes.set_title(f"cycle {cycle}", loc="left", fontsize=10)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("training loss", fontsize=10)
    return figure


def against_minutes(lines: Mapping[str, tuple[list[float], list[float]]], looks: Mapping[str, Look]) -> Figure:
    """Lines of mAP against minutes.

    Args:
        lines: strategy → minutes, ascending, and mAP at each.
        looks: of the strategies.
    """
    figure, (axes,) = canvas(2.8)
    for name, (minutes, scores) in lines.items():
        axes.plot(minutes, scores, color=looks[name].colour, marker=looks[name].marker, markersize=4, label=name)
    axes.set_xlabel("minutes of people")
    axes.set_ylabel("mAP")
    axes.legend(frameon=False, fontsize=9)
    return figure


def box_sizes(sides: Mapping[str, Doubles], priors: tuple[float, float] | None = None) -> Figure:
    """Histogram of the size of boxes, √(width · height) in pixels of the detector's input, a line a split.

    Args:
        sides: split → size of each box, above 0.
        priors: smallest and largest prior of the detector, shaded; None where they are not known.
    """
    figure, (axes,) = canvas(2.8)
    known = [values for values in sides.values() if len(values)]
    pooled = np.concatenate(known) if known else np.ones(1)
    edges = np.geomspace(0.95 * float(pooled.min()), 1.05 * float(pooled.max()), BINS + 1).tolist()
    if priors is not None:
        axes.axvspan(*priors, color=FAINT, alpha=0.3, linewidth=0)
    for k, (split, values) in enumerate(sides.items()):
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=weights, histtype="step", linewidth=1.6, color=PALETTE[k], label=split)
    axes.set_xscale("log")
    ticks = [side for side in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if edges[0] * 0.8 <= side <= edges[-1] * 1.2]
    axes.set_xticks(ticks, [str(side) for side in ticks])
    axes.minorticks_off()
    axes.set_xlabel("box size: √(width · height), pixels of the input")
    axes.set_ylabel("share of boxes")
    if known:
        axes.legend(frameon=False, fontsize=9)
    return figure


def timings(seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Wall time of each step, summed over its jobs."""
    totals = {step: sum(values) for step, values in seconds.items()}
    unit, name = (60, "minutes") if max(totals.values()) >= 300 else (1, "seconds")
    figure, (axes,) = canvas(0.9 + 0.32 * len(totals))
    axes.barh(range(len(totals)), [total / unit for total in totals.values()], color=PALETTE[0], height=0.62)
    axes.set_yticks(range(len(totals)), list(totals))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{name}, all jobs of the step together")
    return figure


def principal(vectors: Floats) -> Doubles:
    """The first two principal components of centred vectors; each sign such that its largest entry is positive.

    Args:
        vectors: [N, D].

    Returns:
        [N, 2].
    """
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    # eigenvectors of the D × D covariance: memory does not grow with the square of the pool
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1.0, 1.0)
    places = centred @ axes
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def embedding_map(places: Doubles, labelled: Bools, picks: Mapping[str, Bools], looks: Mapping[str, Look]) -> Figure:
    """Images by the first two principal components of their embeddings, one panel a strategy with its picks.

    Args:
        places: [N, 2], see :func:`principal`.
        labelled: [N], the initial pool.
        picks: strategy → [N], the images that it picked.
        looks: of the strategies.
    """
    figure, panels = small_panels(len(picks), share=len(picks) > 1)
    for (name, picked), axes in zip(picks.items(), panels, strict=True):
        axes.plot(*places.T, ".", color=FAINT, markersize=2, rasterized=True)
        axes.plot(*places[labelled].T, ".", color=INK, markersize=3)
        axes.plot(*places[picked].T, looks[name].marker, color=looks[name].colour, markersize=4, alpha=0.85)
        axes.set_title(short(name, PANEL), loc="left", fontsize=10, color=looks[name].colour)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure
