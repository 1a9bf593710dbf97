"""Check the parameters of an experiment: the first file, overridden by each next one."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral import experiments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", required=True, nargs="+", type=Path, help="parameter files, base first")


def run(arguments: argparse.Namespace) -> None:
    checked = experiments.read(arguments.params)
    strategies = ", ".join(strategy.name for strategy in checked.strategies)
    print(
        f"{checked.experiment}: {checked.cycles} cycles of {strategies} with {len(checked.seeds)} seeds, "
        f"{checked.budget.initial} images, then {checked.budget.batch} a cycle"
    )
