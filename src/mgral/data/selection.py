"""selected.json: the batch that a cycle ends with, best first, with a reason per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.core.types import Dataset, Pick


@dataclass(frozen=True)
class Selection:
    """One selected batch.

    Attributes:
        strategy: label in the experiment; ``plugin`` is the rule behind it.
        seed, cycle: of the run.
        budget: images asked for; fewer picks if fewer were left.
        picks: best first.
    """

    strategy: str
    plugin: str
    seed: int
    cycle: int
    budget: int
    picks: Sequence[Pick]

    @property
    def ids(self) -> list[int]:
        """Ids, best first."""
        return [pick.id for pick in self.picks]


def write_selection(selection: Selection, dataset: Dataset, path: str | Path) -> None:
    """Write ``selected.json``; file names are added for the reader's eye."""
    picks = [
        {"id": p.id, "file_name": dataset.images[p.id].file_name, "score": p.score, "reason": dict(p.reason)}
        for p in selection.picks
    ]
    head = {key: getattr(selection, key) for key in ("strategy", "plugin", "seed", "cycle", "budget")}
    write_json(path, {**head, "picks": picks})


def read_selection(path: str | Path) -> Selection:
    """Read ``selected.json``. Raises MgralError if it is none."""
    data = read_json(path)
    try:
        picks = [Pick(int(p["id"]), float(p["score"]), p["reason"]) for p in data["picks"]]
        return Selection(
            data["strategy"],
            data["plugin"],
            int(data["seed"]),
            int(data["cycle"]),
            int(data["budget"]),
            picks,
        )
    except (KeyError, TypeError, ValueError):
        raise MgralError(
            f"{path}: not a selection (strategy, seed, cycle, picks); make it with `mgral select`"
        ) from None
