"""selected.json: the batch that a cycle ends with, best first, with a reason per image."""

from __future__ import annotations

from collections import Counter
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


def read_selection(path: str | Path, dataset: Dataset | None = None) -> Selection:
    """Read ``selected.json``.

    Args:
        path: of the file.
        dataset: that it must be of; None: not checked.

    Raises:
        MgralError: it is no selection, picks an image twice, or names another file for an image than the data set.
    """
    data = read_json(path)
    try:
        picks = [Pick(_whole(p["id"]), float(p["score"]), dict(p["reason"])) for p in data["picks"]]
        whole = {key: _whole(data[key]) for key in ("seed", "cycle", "budget")}
        if not (isinstance(data["strategy"], str) and isinstance(data["plugin"], str)):
            raise ValueError
        selection = Selection(data["strategy"], data["plugin"], whole["seed"], whole["cycle"], whole["budget"], picks)
        names = {p["id"]: p.get("file_name") for p in data["picks"]}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise MgralError(
            f"{path}: not a selection (strategy, seed, cycle, picks); make it with `mgral select`"
        ) from None
    twice = next((i for i, times in Counter(selection.ids).items() if times > 1), None)
    if twice is not None:
        raise MgralError(f"{path}: image {twice} is picked twice; run `mgral select` again")
    for i, name in names.items():
        image = dataset.images.get(i) if dataset is not None else None
        if image is not None and name is not None and image.file_name != name:
            raise MgralError(
                f"{path}: image {i} is {name!r} there and {image.file_name!r} in the data set, so it is of another one"
            )
    return selection


def _whole(value: object) -> int:
    """Raises ValueError for what is no whole number from 0."""
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
