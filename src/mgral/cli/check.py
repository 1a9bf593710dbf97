"""Check the parameters of an experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.schema import Params
from mgral.core.errors import MgralError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    parser.add_argument("--dataset", type=Path, help="dataset.json: check that its pool suffices for all cycles too")


def run(arguments: argparse.Namespace) -> None:
    checked = _arguments.read_experiment(arguments.params)
    if arguments.dataset:
        _check_pool(checked, arguments.dataset)
    strategies = ", ".join(strategy.name for strategy in checked.strategies)
    print(
        f"{checked.experiment}: {checked.cycles} cycles of {strategies} with {len(checked.seeds)} seeds, "
        f"{checked.budget.initial} images, then {checked.budget.batch} a cycle"
    )


def _check_pool(params: Params, path: Path) -> None:
    """Raises MgralError if the images of train do not suffice for all cycles."""
    from mgral.data import dataset_json

    images = len(dataset_json.read(path).ids("train"))
    if params.budget.initial == "all":
        return
    needed = params.budget.initial + (params.cycles - 1) * params.budget.batch
    if needed > images:
        raise MgralError(
            f"{path}: {images} images in train, but budget.initial {params.budget.initial} and {params.cycles - 1} "
            f"batches of {params.budget.batch} need {needed}; lower the budget or cycles"
        )
