"""Draw the initial labelled pool of a seed."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Initial
from mgral.core.errors import MgralError
from mgral.core.types import Split
from mgral.data import dataset_json
from mgral.data.pool import initial_pool, write_pool


class Params(Settings):
    """What this step reads."""

    budget: Initial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "pool.json to write")


def run(arguments: argparse.Namespace) -> None:
    params = _arguments.read_params(Params, arguments.params)
    dataset = dataset_json.read(arguments.dataset)
    uses: dict[Split, str] = {"val": "rewards", "test": "results"}
    objects = any(len(found) for found in dataset.boxes.values())
    for split, use in uses.items():
        annotated = [dataset.boxes[i] for i in dataset.ids(split) if i in dataset.boxes]
        if objects and annotated and not any((~found.ignore).any() for found in annotated):
            raise MgralError(
                f"{arguments.dataset}: no object in the {len(annotated)} annotated images of {split}, where {use} come "
                f"from; annotate some, or draw other splits"
            )
        if not annotated:
            raise MgralError(
                f"{arguments.dataset}: no annotated image in split {split}, where {use} come from; annotate some, "
                f"or set dataset.splits.{split} above 0"
            )
    ids = dataset.ids("train")
    candidates = [i for i in ids if i in dataset.boxes]
    size = len(candidates) if params.budget.initial == "all" else params.budget.initial
    write_pool(initial_pool(candidates, size, arguments.seed, ids), arguments.out)
