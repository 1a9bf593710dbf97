"""Collect the metrics of a run into curve.csv."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.params import Strategy
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    strategies: list[Strategy]
    seeds: list[int]
    cycles: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "run")
    _arguments.add_out(parser, "curve.csv to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral import curves

    params = _arguments.read_params(Params, arguments.params)
    labels = [strategy.name for strategy in params.strategies]
    curves.write(curves.collect(arguments.run, labels, params.seeds, params.cycles), arguments.out)
