"""Draw the initial labelled pool of a seed, at random or by local patterns."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Initial
from mgral.core.errors import MgralError
from mgral.data import dataset_json, fitness
from mgral.data.pool import write_pool


class Params(Settings):
    """What this step reads."""

    budget: Initial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    _arguments.add_seed(parser)
    parser.add_argument("--patterns", type=Path, help="foundation.npz, for budget.initial_by: freesel")
    _arguments.add_out(parser, "pool.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.detection import npz_files
    from mgral.strategies import _first_pool

    params = _arguments.read_params(Params, arguments.params)
    dataset = dataset_json.read(arguments.dataset)
    if what := fitness.unmeasurable(dataset):
        raise MgralError(f"{arguments.dataset}: {what}")
    ids = dataset.ids("train")
    annotated = [i for i in ids if i in dataset.boxes]
    patterns = npz_files.read_patterns(arguments.patterns) if arguments.patterns else None
    write_pool(_first_pool.draw(params.budget, annotated, ids, arguments.seed, patterns), arguments.out)
