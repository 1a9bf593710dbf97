"""What a report reads of a run, beyond its metrics: selections, audits of the table, searches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mgral.core import plugins, run_layout
from mgral.core.errors import MgralError
from mgral.core.files import read_json, require_regular
from mgral.core.run_layout import CYCLE
from mgral.core.types import Dataset, Detections, Embeddings
from mgral.data.pool import read_pool
from mgral.data.selection import read_selection as read_selection
from mgral.detection import detections_file, npz_files
from mgral.report.learning_curves import cycle_folder

AUDIT = ["records", "carried", "neighbours", "representation", "mae", "mae_mean", "spearman", "kendall", "spread"]
AUDIT += ["chance", "far", "kinds", "control", "comparison"]
SEARCH = ["iteration", "reward", "baseline", "estimated", "trained", "far"]


@dataclass(frozen=True)
class Cell:
    """One cycle of one strategy and seed; the file that was read there is ``value``."""

    strategy: str
    seed: int
    cycle: int
    value: Any


@dataclass(frozen=True)
class Rule:
    """What a report has to know of the plug-in behind a strategy.

    Attributes:
        control: in a few words, what it is a control for; None for a contender.
        cheats: whether it reads the ground truth of what it picks from.
        reasons: what each term of a pick's reason is.
    """

    control: str | None
    cheats: bool
    reasons: Mapping[str, str]


def rule(plugin: str) -> Rule:
    """What a strategy's plug-in declares; see ``strategies/_contract``. Raises MgralError if there is none."""
    found = plugins.load("strategies", plugin)
    if "truth" in found.NEEDS:
        return Rule("reads the ground truth", True, found.REASONS)
    return Rule(getattr(found, "CONTROL", None), False, found.REASONS)


def selections(run: Path, strategies: Sequence[str], seeds: Sequence[int], cycles: int) -> list[Cell]:
    """The picks of every cycle but the last, best first: ``value`` is a list of :class:`mgral.core.types.Pick`.

    A selection lies between two cycles. One after the last, which the target ``next`` makes, is none of the run's.

    Raises:
        MgralError: a selection is missing or damaged.
    """
    found = []
    for strategy, seed, cycle in _selecting(strategies, seeds, cycles):
        path = cycle_folder(run, strategy, seed, cycle) / CYCLE.selected
        found.append(Cell(strategy, seed, cycle, read_selection(path).picks))
    return found


def audits(run: Path, strategies: Sequence[str], seeds: Sequence[int], cycles: int) -> list[Cell]:
    """The audits of the lookup tables that exist before the last cycle: ``value`` is the content of ``audit.json``.

    Raises:
        MgralError: an audit is damaged.
    """
    found = []
    for strategy, seed, cycle in _selecting(strategies, seeds, cycles):
        path = cycle_folder(run, strategy, seed, cycle) / CYCLE.audit
        if not path.exists():
            continue
        audit = read_json(path)
        missing = [key for key in [*AUDIT, "points"] if not isinstance(audit, dict) or key not in audit]
        if missing:
            raise MgralError(f"{path}: has no key '{missing[0]}'; run `mgral table` again")
        found.append(Cell(strategy, seed, cycle, audit))
    return found


def searches(run: Path, strategies: Sequence[str], seeds: Sequence[int], cycles: int) -> list[Cell]:
    """The searches that exist before the last cycle: ``value`` is the data frame of ``search.csv``.

    Raises:
        MgralError: a search file is damaged.
    """
    found = []
    for strategy, seed, cycle in _selecting(strategies, seeds, cycles):
        path = cycle_folder(run, strategy, seed, cycle) / CYCLE.search
        if not path.exists():
            continue
        try:
            require_regular(path)
            frame = pd.read_csv(path)[SEARCH].astype(float)
        except (KeyError, ValueError):
            raise MgralError(f"{path}: not a search (columns {', '.join(SEARCH)}); run `mgral search` again") from None
        found.append(Cell(strategy, seed, cycle, frame))
    return found


def next_selections(run: Path, strategies: Sequence[str], seeds: Sequence[int], cycles: int) -> list[Cell]:
    """The picks that the target ``next`` chose after the last cycle, where it has."""
    found = []
    for strategy in strategies:
        for seed in seeds:
            path = cycle_folder(run, strategy, seed, cycles - 1) / CYCLE.selected
            if path.exists():
                found.append(Cell(strategy, seed, cycles - 1, read_selection(path).picks))
    return found


def losses(run: Path, strategies: Sequence[str], seed: int, cycles: int) -> dict[str, dict[int, pd.DataFrame]]:
    """Columns ``step`` and ``loss`` of each train.csv of a seed, by strategy and cycle, where there is one.

    Raises:
        MgralError: one is damaged.
    """
    found: dict[str, dict[int, pd.DataFrame]] = {}
    for strategy in strategies:
        for cycle in range(cycles):
            path = cycle_folder(run, strategy, seed, cycle) / CYCLE.training
            if not path.exists():
                continue
            try:
                require_regular(path)
                frame = pd.read_csv(path)[["step", "loss"]].astype(float)
            except (KeyError, ValueError):
                raise MgralError(f"{path}: not a training (columns step, loss); run `mgral train` again") from None
            found.setdefault(strategy, {})[cycle] = frame
    return found


def embeddings(run: Path, strategies: Sequence[str], seed: int) -> Embeddings | None:
    """Embeddings by the first detector of a seed, which all strategies share; None where no strategy needed any."""
    for label in [*strategies, run_layout.SHARED]:
        path = cycle_folder(run, label, seed, 0) / CYCLE.embeddings
        if path.exists():
            return npz_files.read_embeddings(path)
    return None


def labelled(folder: Path) -> list[int]:
    """The labelled ids of a cycle; none where its pool.json is not there."""
    path = folder / CYCLE.pool
    return sorted(read_pool(path).labelled) if path.exists() else []


def detections(run: Path, cells: Sequence[Cell]) -> dict[tuple[str, int], Mapping[int, Detections]]:
    """What the detector found in the picked images of each cell, by strategy and cycle, where detections.npz exists."""
    found: dict[tuple[str, int], Mapping[int, Detections]] = {}
    read: dict[Path, Mapping[int, Detections]] = {}
    for cell in cells:
        labels = [cell.strategy, run_layout.SHARED] if cell.cycle == 0 else [cell.strategy]
        for label in labels:
            path = cycle_folder(run, label, cell.seed, cell.cycle) / CYCLE.detections
            if path.exists():
                if path not in read:
                    read[path] = detections_file.read(path)[0]
                found[cell.strategy, cell.cycle] = {p.id: read[path][p.id] for p in cell.value if p.id in read[path]}
                break
    return found


def box_counts(dataset: Dataset, ids: Iterable[int]) -> list[int]:
    """Ground-truth boxes of each class over some images, ``ignore`` boxes left out; one count a class."""
    counts: Counter[int] = Counter()
    for i in ids:
        if i in dataset.boxes:
            boxes = dataset.boxes[i]
            counts.update(boxes.labels[~boxes.ignore].tolist())
    return [counts[label] for label in range(len(dataset.classes))]


def _selecting(strategies: Iterable[str], seeds: Sequence[int], cycles: int) -> Iterable[tuple[str, int, int]]:
    """All cycles that a selection follows: not the last."""
    return ((strategy, seed, cycle) for strategy in strategies for seed in seeds for cycle in range(cycles - 1))
