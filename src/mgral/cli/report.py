"""Write the report of a run: one HTML file, and its figures as PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments

OUTPUTS = ("figures",)  # options that name what is written, beside --out
FOLDERS = ("figures",)  # outputs that are folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "run")
    _arguments.add_out(parser, "report.html to write")
    _arguments.add_cycles(parser)
    parser.add_argument("--figures", required=True, type=Path, help="folder for the figures")
    parser.add_argument("--commit", help="of the project, for the top of the page")
    parser.add_argument("--date", help="for the top of the page, as you want it shown")
    parser.add_argument("--command", help="that made the run, for the top of the page")


def run(arguments: argparse.Namespace) -> None:
    from importlib import metadata

    from mgral.report import sections
    from mgral.report.context import Stamp

    try:
        version = metadata.version("mgral")
    except metadata.PackageNotFoundError:  # on the path, but not installed
        version = None
    params = _arguments.read_experiment(arguments.params)
    if arguments.cycles is not None:
        params = params.model_copy(update={"cycles": arguments.cycles})
    stamp = Stamp(version, arguments.commit, arguments.date, arguments.command)
    sections.build(arguments.run, params, arguments.out, arguments.figures, stamp)
