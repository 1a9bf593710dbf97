"""Collect the metrics of a run into curve.csv, and what each strategy is worth into summary.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Strategy, curve_names, reference

OUTPUTS = ("summary",)  # options that name what is written, beside --out


class Params(Settings):
    """What this step reads."""

    strategies: list[Strategy]
    seeds: list[int]
    cycles: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "run")
    _arguments.add_out(parser, "curve.csv to write")
    _arguments.add_cycles(parser)
    parser.add_argument("--summary", required=True, type=Path, help="summary.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core.files import write_json
    from mgral.report import learning_curves

    params = _arguments.read_params(Params, arguments.params)
    cycles = params.cycles if arguments.cycles is None else arguments.cycles
    frame = learning_curves.collect(arguments.run, curve_names(params.strategies), params.seeds, cycles)
    learning_curves.write(frame, arguments.out)
    write_json(arguments.summary, learning_curves.means(frame, reference(params.strategies)))
