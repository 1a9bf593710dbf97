"""Say what further images are expected to bring, from trainings on parts of the labelled pool."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Batch


class Params(Settings):
    """What this step reads."""

    budget: Batch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    parser.add_argument("--metrics", required=True, type=Path, nargs="+", help="metrics.json of each training")
    parser.add_argument("--noise", type=Path, help="noise.json: the spread between trainings of one pool")
    _arguments.add_out(parser, "stopping.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core.files import write_json
    from mgral.report import learning_curves, stopping

    batch = _arguments.read_params(Params, arguments.params).budget.batch
    found = [learning_curves.read_metrics(path) for path in arguments.metrics]
    points = [(int(metrics["images"]), float(metrics["test"]["mAP"])) for metrics in found]
    deviation = learning_curves.read_noise(arguments.noise)["mAP"]["deviation"] if arguments.noise else None
    more = [batch, 2 * batch, 5 * batch]
    write_json(arguments.out, stopping.extrapolate(points, more, deviation))
