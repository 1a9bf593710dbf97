"""Draw the initial labelled pool of a seed."""

from __future__ import annotations

import argparse

from mgral import datasets, pools
from mgral.cli import _arguments
from mgral.errors import MgralError
from mgral.params import Initial
from mgral.settings import Settings
from mgral.types import Split


class Params(Settings):
    """What this step reads."""

    budget: Initial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "pool.json to write")


def run(arguments: argparse.Namespace) -> None:
    params = _arguments.read_params(Params, arguments.params)
    dataset = datasets.read(arguments.dataset)
    uses: dict[Split, str] = {"val": "rewards", "test": "results"}
    for split, use in uses.items():
        if not any(i in dataset.boxes for i in dataset.ids(split)):
            raise MgralError(
                f"{arguments.dataset}: no annotated image in split {split}, where {use} come from; annotate some, "
                f"or set dataset.splits.{split} above 0"
            )
    ids = dataset.ids("train")
    annotated = [i for i in ids if i in dataset.boxes]
    pools.write(pools.initial(annotated, params.budget.initial, arguments.seed, ids), arguments.out)
