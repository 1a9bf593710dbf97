"""Say what an experiment will take on this machine: trainings, hours, disk. A few steps are run to time them.

The jobs are those that Snakemake finds for these parameters, as if nothing had been made yet.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mgral.cli import _arguments
from mgral.core.types import SPLITS
from mgral.data import dataset_json, tiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--python", default=sys.executable, help="a Python that has Snakemake, where the one that runs this has none"
    )
    where.add_argument("--graph", type=Path, help="in its place what `snakemake --forceall --d3dag` printed")
    parser.add_argument("--cores", required=True, type=_cores, help="processor cores of the run")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import run_layout
    from mgral.core.files import read_json
    from mgral.planning import forecast, timing
    from mgral.planning.run_plan import RunPlan

    params = _arguments.read_experiment(arguments.params)
    given = (
        read_json(arguments.graph) if arguments.graph else forecast.ask_snakemake(arguments.python, arguments.params)
    )
    graph = forecast.read_graph(given)
    dataset = dataset_json.read(arguments.dataset)
    inputs = tiles.cut(dataset)[0]
    train, val, test = (len(dataset.ids(split)) for split in SPLITS)
    sizes = forecast.Sizes(train, val, test, {one: len(inputs.ids(one)) - len(dataset.ids(one)) for one in SPLITS})
    measured = timing.run(dataset, params, RunPlan(params).kept(run_layout.SHARED))
    workers = max(arguments.cores // params.machine.threads, 1)
    print("\n".join(forecast.table(graph, params, sizes, measured, workers)))


def _cores(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of cores; give a whole number, 1 or more")
    return int(text)
