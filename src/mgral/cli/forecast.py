"""Say what an experiment will take on this machine: trainings, hours, disk. A few steps are run to time them."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.core.types import SPLITS
from mgral.data import dataset_json, tiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    parser.add_argument("--graph", required=True, type=Path, help="what `snakemake --forceall --d3dag` printed")
    parser.add_argument("--cores", required=True, type=_cores, help="processor cores of the run")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import run_layout
    from mgral.core.files import read_json
    from mgral.planning import forecast, timing
    from mgral.planning.run_plan import RunPlan
    from mgral.strategies._contract import kept_for

    params = _arguments.read_experiment(arguments.params)
    graph = forecast.read_graph(read_json(arguments.graph))
    dataset = dataset_json.read(arguments.dataset)
    inputs = tiles.cut(dataset)[0]
    train, val, test = (len(dataset.ids(split)) for split in SPLITS)
    sizes = forecast.Sizes(train, val, test, {one: len(inputs.ids(one)) - len(dataset.ids(one)) for one in SPLITS})
    plan = RunPlan(params)
    keep = plan.kept(run_layout.SHARED, {label: kept_for(strategy) for label, strategy in plan.strategies.items()})
    measured = timing.run(dataset, params, keep)
    workers = max(arguments.cores // params.machine.threads, 1)
    print("\n".join(forecast.table(graph, params, sizes, measured, workers)))


def _cores(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of cores; give a whole number, 1 or more")
    return int(text)
