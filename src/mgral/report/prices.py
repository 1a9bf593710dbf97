"""The price of batches in words: whether rewards carry a signal, and what batches promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.run_layout import CYCLE
from mgral.report.learning_curves import cycle_folder
from mgral.report.sources import Cell
from mgral.report.tables import Table
from mgral.report.text import number, signed


def read(run: Path, strategies: Sequence[str], seeds: Sequence[int], cycles: int) -> list[Cell]:
    """Every prices.json before the last cycle, where there is one. Raises MgralError if one is damaged."""
    found = []
    for strategy in strategies:
        for seed in seeds:
            for cycle in range(cycles - 1):
                path = cycle_folder(run, strategy, seed, cycle) / CYCLE.prices
                if not path.exists():
                    continue
                value = read_json(path)
                if not isinstance(value, dict) or not {"batches", "random"} <= value.keys():
                    raise MgralError(f"{path}: holds no predicted gains; run `mgral prices` again")
                found.append(Cell(strategy, seed, cycle, value))
    return found


def signals(audits: Sequence[Mapping[str, Any]]) -> list[str]:
    """In how many tables the rewards carry a signal, and what chooses in the others; nothing of other surrogates."""
    found = [audit["signal"] for audit in audits if audit.get("signal")]
    if not found:
        return []
    if len(found) == 1:
        return [found[0]["text"]]
    count = sum(one["signal"] for one in found)
    rule = found[0]["rule"]
    text = f"The rewards carry a signal in {count} of {len(found)} tables (permutation test, level {found[0]['level']})"
    return [f"{text}; in the others the choice is that of the rule {rule}."]


def choices(cells: Sequence[Cell]) -> str | None:
    """In how many pools the rule's batch was left, and how certain the price was; None where none was asked."""
    found = [cell.value["chosen"] for cell in cells if cell.value.get("chosen", {}).get("least")]
    if not found:
        return None
    left, least = sum(not one["rule"] for one in found), found[0]["least"]
    sure = ", ".join(f"{one['certainty']:.0%}" for one in found[:8]) + (", …" if len(found) > 8 else "")
    pools = f"{len(found)} pool{'' if len(found) == 1 else 's'}"
    return (
        f"The rule's batch was left for another in {left} of {pools}: the price must be {least:.0%} certain that the "
        f"other gains more. It was: {sure}."
    )


def table(cells: Sequence[Cell]) -> Table:
    """Predicted gains of batches, means over cycles and seeds; last the random ones."""
    found: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        for row in cell.value["batches"]:
            found.setdefault(row["name"], []).append((row["gain"], row["deviation"]))
    rows = []
    for name, pairs in found.items():
        gain, deviation = np.mean(pairs, axis=0)
        rows.append([name, signed(float(gain), 4), number(float(deviation), 4), str(len(pairs))])
    random = [cell.value["random"] for cell in cells]
    mean = float(np.mean([one["mean"] for one in random]))
    near = sum(one["near_zero"] for one in random)
    rows.append([f"random (near 0 in {near} of {len(random)})", signed(mean, 4), "–", str(len(random))])
    return Table(["batch", "predicted gain", "standard deviation", "pools"], rows)
