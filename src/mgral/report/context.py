"""What all sections of the report share: the run that they read, and the figures that they add to the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mgral.config.schema import Params, curve_names, reference
from mgral.core.errors import MgralError
from mgral.core.files import whole
from mgral.core.run_layout import CYCLE, RUN, cycle_folder
from mgral.core.types import Dataset
from mgral.data import dataset_json
from mgral.report import comparison, learning_curves, sources
from mgral.report import figures as draw
from mgral.report.comparison import Comparison
from mgral.report.sources import Rule


@dataclass(frozen=True)
class Stamp:
    """Where and when a page was made, as the caller gives it; equal stamps and equal runs are equal bytes.

    Attributes:
        version: of mgral.
        commit: of the project, ``date``: ISO 8601, ``command``: the line that repeats it; None is left out.
    """

    version: str | None = None
    commit: str | None = None
    date: str | None = None
    command: str | None = None

    @property
    def facts(self) -> list[str]:
        """What is known, in the order in which it is shown."""
        named = {"mgral": self.version, "commit": self.commit, "made": self.date, "command:": self.command}
        return [f"{name} {value}" for name, value in named.items() if value]


@dataclass(frozen=True)
class Run:
    """What all parts of the page share.

    Attributes:
        rules: the strategy of each label.
        reference: label of the random strategy, None if the run has none.
        frame: the curves, see :func:`mgral.report.learning_curves.collect`.
        compared: the comparison of the strategies.
        order: indices of the classes, most boxes in the pool first.
        pool: boxes of each class in the train split.
    """

    folder: Path
    params: Params
    rules: Mapping[str, Rule]
    reference: str | None
    frame: pd.DataFrame
    compared: Comparison
    dataset: Dataset
    order: list[int]
    pool: list[int]
    looks: dict[str, draw.Look]

    @property
    def chose(self) -> bool:
        """Whether a strategy has chosen anything yet: a selection lies between two cycles."""
        return self.params.cycles > 1

    @property
    def strategies(self) -> list[str]:
        """Their names, in the order shown."""
        return list(self.looks)

    @property
    def controls(self) -> dict[str, str]:
        """What each strategy that is no contender is a control for."""
        return {name: rule.control for name, rule in self.rules.items() if rule.control}

    @property
    def classes(self) -> list[str]:
        """Class names in :attr:`order`."""
        return [self.dataset.classes[k] for k in self.order]

    @property
    def cells(self) -> tuple[Path, list[str], list[int], int]:
        """Where files of single cycles are looked for."""
        return self.folder, self.strategies, self.params.seeds, self.params.cycles


@dataclass(frozen=True)
class Plate:
    """A figure on the page: PNG as data URI, and a caption that says what it shows."""

    data: str
    caption: str


class Plates:
    """Writes each figure into a folder and hands it back for the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, figure: Figure, caption: str) -> Plate:
        """Write ``<name>.png``."""
        data = draw.png(figure)
        with whole(self.folder / f"{name}.png") as temporary:
            temporary.write_bytes(data)
        return Plate("data:image/png;base64," + base64.b64encode(data).decode(), caption)


def read(run: Path, params: Params) -> Run:
    """Read what all parts share."""
    random = reference(params.strategies)
    names = curve_names(params.strategies)
    frame = learning_curves.collect(run, names, params.seeds, params.cycles)
    dataset = dataset_json.read(_newest(run, params))
    pool = sources.box_counts(dataset, dataset.ids("train"))
    order = sorted(range(len(pool)), key=lambda k: (-pool[k], k))
    compared = comparison.read(run / RUN.comparison)
    found = [curve.strategy for curve in [*compared.curves, *compared.own]]
    if found != sorted(names, key=learning_curves.is_own) or compared.seeds != params.seeds:
        raise MgralError(f"{run / RUN.comparison}: of other strategies or seeds; run `mgral compare` again")
    looks = draw.looks([strategy.name for strategy in params.strategies], random)
    rules = {strategy.name: sources.rule(strategy.plugin) for strategy in params.strategies}
    return Run(run, params, rules, random, frame, compared, dataset, order, pool, looks)


def _newest(run: Path, params: Params) -> Path:
    """The data set with all labels: that of the last cycle where people label it, the imported one elsewhere."""
    if params.oracle.kind != "people" or params.cycles < 2:
        return run / RUN.dataset
    last = cycle_folder(run, params.strategies[0].name, params.seeds[0], params.cycles - 1)
    return Path(last) / CYCLE.dataset
