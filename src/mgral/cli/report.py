"""Write the report of a run: one HTML file, and its figures as PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "run")
    _arguments.add_out(parser, "report.html to write")
    parser.add_argument("--figures", required=True, type=Path, help="folder for the figures")


def run(arguments: argparse.Namespace) -> None:
    from mgral.report import sections

    sections.build(arguments.run, _arguments.read_experiment(arguments.params), arguments.out, arguments.figures)
