"""Check the parameters of an experiment."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")


def run(arguments: argparse.Namespace) -> None:
    checked = _arguments.read_experiment(arguments.params)
    strategies = ", ".join(strategy.name for strategy in checked.strategies)
    print(
        f"{checked.experiment}: {checked.cycles} cycles of {strategies} with {len(checked.seeds)} seeds, "
        f"{checked.budget.initial} images, then {checked.budget.batch} a cycle"
    )
