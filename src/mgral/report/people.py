"""What people need to know of their run: what a batch brought, what is asked next, what was spent, when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mgral.annotation import budget, exchange
from mgral.annotation.budget import Past
from mgral.annotation.exchange import Batch
from mgral.core import run_layout
from mgral.core.types import Pick
from mgral.report import figures_data, gallery, learning_curves, sources, stopping
from mgral.report.comparison import ALPHA, quantile
from mgral.report.context import Plate, Plates, Run
from mgral.report.sources import Cell
from mgral.report.tables import Table
from mgral.report.text import number, signed


def section(run: Run, plates: Plates) -> dict[str, Any]:
    """The section of a run that people answer; each part is empty where there is nothing to say.

    Raises:
        MgralError: a file of it is damaged.
    """
    asked = run.params.oracle.kind != "dataset"
    said = {name: _said(run, name) for name in run.strategies} if asked else {}
    label = run.strategies[0]
    waiting = _batch(run, label, run.params.cycles - 1) if run.params.oracle.kind == "people" else None
    path = run.folder / run_layout.RUN.stopping
    cell = Cell(label, run.params.seeds[0], run.params.cycles - 1, _picks(waiting)) if waiting else None
    return {
        "brought": brought(run, label) if run.params.oracle.kind == "people" else None,
        "stop": [stopping.sentence(gain) for gain in stopping.read(path)["gains"]] if path.exists() else [],
        "account": account(said, waiting, label),
        "spent": spent(run, said, plates),
        "asked": gallery.rows([cell], run.dataset, sources.detections(run.folder, [cell]))[label][0] if cell else None,
        "batch": waiting,
    }


def brought(run: Run, label: str) -> str | None:
    """What the last batch brought: mAP on test before and after, and what of it may be chance.

    Both detectors are one training, so that their difference has the variance 2σ₀²; its interval is t with the degrees
    of freedom of the trainings that σ₀ was estimated from.
    """
    curve = run.frame[(run.frame["strategy"] == label) & (run.frame["seed"] == run.params.seeds[0])]
    if len(curve) < 2:
        return None
    (before, after), (fewer, more) = curve["mAP"].tail(2), curve["images"].tail(2)
    path = run.folder / run_layout.RUN.noise
    chance = "how much of it is chance is not known (noise.repeats)"
    if path.exists():
        noise = learning_curves.read_noise(path)
        margin = quantile(noise["repeats"], ALPHA / 2) * math.sqrt(2) * noise["mAP"]["deviation"]
        inside = "which is within chance" if abs(after - before) <= margin else "which is more than chance"
        chance = f"95 % interval {signed(after - before - margin)} to {signed(after - before + margin)}, {inside}"
    size = f"{more - fewer} {'image' if more - fewer == 1 else 'images'}"
    return (
        f"The last batch of {size} changed test mAP from {number(before)} to {number(after)} "
        f"({signed(after - before)}; {chance})."
    )


def account(said: Mapping[str, Sequence[Past]], waiting: Batch | None, label: str) -> Table | None:
    """Planned against spent, by batch: what was asked, what came back, and what was left over."""
    rows = [_row(name, batch) for name, batches in said.items() for batch in batches]
    if waiting is not None:
        plan = waiting.plan.summary if waiting.plan else None
        rows.append([label, str(waiting.cycle), str(len(waiting.images)), "–", "–", "–", *_planned(plan), "–"])
    header = ["strategy", "after cycle", "images asked", "finished", "boxes", "minutes"]
    return Table([*header, "planned", "expected", "left over"], rows) if rows else None


def _row(name: str, past: Past) -> list[str]:
    minutes = past.spent("minutes")
    left = past.plan["amount"] + past.plan["carried"] - past.spent(past.plan["unit"]) if past.plan else None
    return [
        name,
        str(past.cycle),
        str(len(past.images)),
        *(f"{past.spent(unit):.0f}" for unit in ("images", "boxes")),
        f"{minutes:.1f}" if minutes else "–",
        *_planned(past.plan),
        "–" if left is None else f"{left:+.0f}",
    ]


def _planned(plan: Mapping[str, Any] | None) -> list[str]:
    """What was planned, with what was carried, and what was expected of the images, with its 90 % interval."""
    if plan is None:
        return ["–", "–"]
    total = plan["amount"] + plan["carried"]
    return [f"{total:.0f} {plan['unit']}", f"{plan['expected']:.0f} ({plan['low']:.0f} to {plan['high']:.0f})"]


def spent(run: Run, said: Mapping[str, Sequence[Past]], plates: Plates) -> Plate | None:
    """mAP against the minutes that people spent on batches, first seed; None where no tool noted any."""
    lines = {}
    for name, batches in said.items():
        minutes = pd.Series([0.0, *(batch.spent("minutes") for batch in batches)]).cumsum()
        curve = run.frame[(run.frame["strategy"] == name) & (run.frame["seed"] == run.params.seeds[0])]["mAP"]
        if minutes.iloc[-1] and len(minutes) == len(curve):
            lines[name] = (minutes.tolist(), curve.tolist())
    if not lines:
        return None
    caption = "mAP on the test split against minutes of people, without those of the initial pool; first seed."
    return plates.add("curve_minutes", figures_data.against_minutes(lines, run.looks), caption)


def _said(run: Run, name: str) -> list[Past]:
    """What people said of the batches of a strategy, first seed."""
    folders = [
        Path(run_layout.cycle_folder(run.folder, name, run.params.seeds[0], cycle)) / run_layout.CYCLE.labels
        for cycle in range(1, run.params.cycles)
    ]
    return [budget.read_past(path) for path in folders]


def _batch(run: Run, name: str, cycle: int) -> Batch | None:
    """The batch after a cycle, if it is exported."""
    folder = run_layout.cycle_folder(run.folder, name, run.params.seeds[0], cycle)
    path = Path(folder) / run_layout.CYCLE.manifest
    return exchange.read_batch(path) if path.exists() else None


def _picks(batch: Batch) -> list[Pick]:
    return [Pick(image.id, image.score, dict(image.reason)) for image in batch.images]
