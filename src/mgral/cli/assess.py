"""Assess the unlabelled images of a cycle, for a strategy that looks at images or trains something of its own."""

from __future__ import annotations

import argparse
from dataclasses import replace

from mgral.cli import _arguments
from mgral.errors import MgralError
from mgral.params import DetectorParams, Evaluation, Machine, Strategy, Training
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    strategies: list[Strategy]
    detector: DetectorParams
    training: Training
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector")
    parser.add_argument("--strategy", required=True, help="label of the strategy in the parameters")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "assessment.npz to write; a checkpoint may lie beside it meanwhile")


def run(arguments: argparse.Namespace) -> None:
    from mgral import arrays, compute, datasets, pools, seeds
    from mgral.cli import _checkpoint, _strategy
    from mgral.images import Cache
    from mgral.strategies._workbench import Workbench
    from mgral.training.loop import Plan

    params = _arguments.read_params(Params, arguments.params)
    strategy, plugin, options = _strategy.find(params.strategies, arguments.strategy)
    if "assessment" not in plugin.NEEDS:
        raise MgralError(f"--strategy: {strategy.plugin} assesses nothing; go on with `mgral select`")
    machine = compute.prepare(params.machine)
    dataset, pool = datasets.read(arguments.dataset), pools.read(arguments.pool)
    labels = {i: dataset.boxes[i] for i in pool.labelled if i in dataset.boxes}
    modules = [__name__, f"mgral.strategies.{strategy.plugin}", f"mgral.detectors.{params.detector.name}"]
    inputs = [arguments.dataset, arguments.pool, arguments.detector]
    workbench = Workbench(
        pool,
        dataset.classes,
        Cache(replace(dataset, boxes=labels), arguments.images),
        params.detector,
        arguments.detector,
        Plan(**params.training.model_dump()),
        params.evaluation,
        machine,
        _checkpoint.place(arguments.out, params, arguments.seed, inputs, modules),
    )
    assessment = plugin.assess(workbench, seeds.stream(arguments.seed, "assess", pool.cycle), options)
    arrays.write_assessment(assessment, arguments.out)
