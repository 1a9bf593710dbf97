"""Sections that look inside a run: training, data, embeddings, next batches, predicted gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgral.core.run_layout import CYCLE
from mgral.data.box_sizes import sides
from mgral.data.resizing import Resizing
from mgral.report import figures_data, figures_method, headline, sources, tables
from mgral.report.context import Plate, Plates, Run
from mgral.report.learning_curves import cycle_folder
from mgral.report.sources import Cell
from mgral.report.text import term

MAPPED = 20_000  # images of a map of embeddings, at most
PANELS = 8  # of strategies in it, at most


def training(run: Run, plates: Plates) -> Plate | None:
    """Loss curves of the first seed's detectors; None where there is no train.csv."""
    curves = sources.losses(run.folder, run.strategies, run.params.seeds[0], run.params.cycles)
    if not curves:
        return None
    caption = (
        f"Training loss of the detector, seed {run.params.seeds[0]}; a curve that still falls asks for more steps."
    )
    return plates.add("losses", figures_data.losses(curves, run.looks), caption)


def box_sizes(run: Run, plates: Plates) -> Plate | None:
    """Sizes of the boxes by split; None without any box."""
    resizing = Resizing.of(run.params.resize, run.params.image_size, run.params.longest_edge)
    found = sides(run.dataset, resizing)
    if not any(len(values) for values in found.values()):
        return None
    side = resizing.side(run.dataset)
    caption = f"Size of the boxes in the detector's input of {side} × {side} pixels."
    return plates.add("box_sizes", figures_data.box_sizes(found), caption)


def embedding_maps(run: Run, plates: Plates) -> Plate | None:
    """A map of the first cycle's embeddings with all picks of the first seed; None without embeddings or picks."""
    seed = run.params.seeds[0]
    found = sources.embeddings(run.folder, run.strategies, seed)
    if found is None or not run.chose:
        return None
    keep = np.arange(len(found.ids))
    keep = keep[:: -(-len(keep) // MAPPED)]
    ids = found.ids[keep]
    names = run.strategies[:PANELS]
    cells = sources.selections(run.folder, names, [seed], run.params.cycles)
    picks = {
        name: np.isin(ids, [pick.id for cell in cells if cell.strategy == name for pick in cell.value])
        for name in names
    }
    labelled = np.isin(ids, sources.labelled(cycle_folder(run.folder, names[0], seed, 0)))
    places = figures_data.principal(found.vectors[keep].astype(np.float32, copy=False))
    figure = figures_data.embedding_map(places, labelled, picks, run.looks)
    caption = (
        f"Embeddings of the first detector, two principal components, seed {seed}. Black: initial pool. In colour: all "
        "picks of the strategy."
    )
    return plates.add("embeddings", figure, caption)


def next_batches(run: Run) -> dict[str, Any]:
    """The batches that the target ``next`` chose after the last cycle, as tables; empty where it has not run."""
    found = []
    for cell in sources.next_selections(run.folder, run.strategies, run.params.seeds, run.params.cycles):
        path = cycle_folder(run.folder, cell.strategy, cell.seed, cell.cycle) / CYCLE.selected
        table = tables.batch(cell.value, run.dataset)
        found.append((cell.strategy, cell.seed, path.relative_to(run.folder).as_posix(), table))
    return {"next_batches": found, "next_terms": _terms(run, [name for name, *_ in found])}


def _terms(run: Run, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    return {name: [(term(key), what) for key, what in run.rules[name].reasons.items()] for name in names}


def predicted(run: Run, plates: Plates, name: str, searches: Sequence[Cell]) -> tuple[Plate, str] | None:
    """Predicted against realised gain of the batches that a search chose; None without a random strategy.

    Predicted is the mean reward of the search's last tenth. Realised is what the batch added to test mAP, less what
    random's batch of the same seed and cycle added. At cycle 0 both start from one detector, later each from its own.
    """
    if run.reference is None or name == run.reference:
        return None
    levels = run.frame.set_index(["strategy", "seed", "cycle"])["mAP"].to_dict()
    points = []
    for cell in searches:
        reward = cell.value["reward"]
        gains = [
            levels[label, cell.seed, cell.cycle + 1] - levels[label, cell.seed, cell.cycle]
            for label in (name, run.reference)
        ]
        points.append((cell.cycle, float(reward.iloc[-max(1, len(reward) // 10) :].mean()), gains[0] - gains[1]))
    caption = (
        "Each mark is a chosen batch. Predicted: mean reward of the search's last tenth. Realised: gain of test mAP to "
        f"the next cycle, less that of {run.reference}'s batch. Line: equal."
    )
    plate = plates.add(f"predicted_{name}", figures_method.predicted(points, run.looks[name]), caption)
    return plate, headline.predicted_and_realised([point[1:] for point in points])
