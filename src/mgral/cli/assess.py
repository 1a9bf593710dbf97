"""Assess the unlabelled images of a cycle, for a strategy that looks at images or trains something of its own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Evaluation, Machine, Strategy, Training
from mgral.core.errors import MgralError
from mgral.data import dataset_json


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
    parser.add_argument("--own", type=Path, help="own.json to write: mAP of the strategy's own detector, if it has one")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import random_streams
    from mgral.data.image_cache import Cache
    from mgral.data.pool import read_pool
    from mgral.detection import metrics, npz_files
    from mgral.detection.checkpoint import initial_weights, kept_checkpoint
    from mgral.detection.device import prepare_device
    from mgral.detection.training import Plan
    from mgral.strategies import _contract2
    from mgral.strategies._workbench import Workbench

    params = _arguments.read_params(Params, arguments.params)
    strategy, plugin, options = _contract2.find(params.strategies, arguments.strategy)
    if "assessment" not in plugin.NEEDS:
        raise MgralError(f"--strategy: {strategy.plugin} assesses nothing; go on with `mgral select`")
    if arguments.own is not None and not hasattr(plugin, "assess_and_detect"):
        raise MgralError(f"--own: {strategy.plugin} has no detector of its own to report; leave it out")
    machine = prepare_device(params.machine)
    dataset = dataset_json.read(arguments.dataset)
    pool = read_pool(arguments.pool, dataset)
    labels = {i: dataset.boxes[i] for i in pool.labelled}
    modules = [
        __name__,
        f"mgral.strategies._contract.{strategy.plugin}",
        f"mgral.detection.base.{params.detector.name}",
    ]
    inputs = [arguments.dataset, arguments.pool, arguments.detector]
    large = [arguments.images, *initial_weights(params.detector)]
    cache = Cache(replace(dataset, boxes=labels), arguments.images)
    seed = random_streams.stream(arguments.seed, "assess", pool.cycle)
    with kept_checkpoint(arguments.out, params, arguments.seed, inputs, modules, large) as checkpoint:
        workbench = Workbench(
            pool,
            dataset.classes,
            cache,
            params.detector,
            arguments.detector,
            Plan(**params.training.model_dump()),
            params.evaluation,
            machine,
            checkpoint,
        )
        if arguments.own is None:
            assessment = plugin.assess(workbench, seed, options)
        else:
            assessment, detect = plugin.assess_and_detect(workbench, seed, options)
            metrics.write(arguments.own, dataset, pool, detect, params.evaluation.max_detections)
        npz_files.write_assessment(assessment, arguments.out)
