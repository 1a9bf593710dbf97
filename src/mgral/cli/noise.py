"""Measure the retraining variance of mAP: the spread between trainings of one pool with different seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metrics", required=True, type=Path, nargs="+", help="metrics.json of each training")
    _arguments.add_out(parser, "noise.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core.files import write_json
    from mgral.report import learning_curves

    write_json(arguments.out, learning_curves.noise(arguments.metrics))
