"""Compare the strategies of a run: intervals, paired differences to random and to the best baseline, verdicts."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Strategy, curve_names, reference
from mgral.core.errors import MgralError, nearest


class Params(Settings):
    """What this step reads."""

    strategies: list[Strategy]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    parser.add_argument("--curve", required=True, type=Path, help="curve.csv of the run")
    parser.add_argument(
        "--baselines", nargs="*", default=[], help="labels of the strategies that count as baselines; default none"
    )
    parser.add_argument("--noise", type=Path, help="noise.json of the run, if there is one")
    _arguments.add_out(parser, "comparison.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.report import comparison, learning_curves

    params = _arguments.read_params(Params, arguments.params)
    frame = learning_curves.read(arguments.curve)
    labels = [strategy.name for strategy in params.strategies]
    names = curve_names(params.strategies)
    present = set(frame["strategy"])
    for name in names:
        if name not in present:
            raise MgralError(f"{arguments.curve}: has no strategy '{name}'; run `mgral curve` again")
    for label in arguments.baselines:
        if label not in labels:
            raise MgralError(f"--baselines: unknown label '{label}'; {nearest(label, labels)}")
    noise = learning_curves.read_noise(arguments.noise) if arguments.noise else None
    frame = frame[frame["strategy"].isin(names)]
    comparison.write(comparison.compare(frame, reference(params.strategies), arguments.baselines, noise), arguments.out)
