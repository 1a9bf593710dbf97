"""Score the unlabelled images of a cycle, for a strategy that trains or runs a network of its own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Evaluation, Machine, Strategy, Training
from mgral.core.errors import MgralError
from mgral.data import dataset_json

OUTPUTS = ("log", "own")  # options that name what is written, beside --out


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
    _arguments.add_out(parser, "image_scores.npz to write; a checkpoint may lie beside it meanwhile")
    parser.add_argument("--log", type=Path, help="CSV to write: losses by step, of a strategy that trains")
    parser.add_argument("--own", type=Path, help="own.json to write: mAP of the strategy's own detector, if it has one")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import random_streams
    from mgral.data.image_cache import Cache
    from mgral.data.pool import read_pool
    from mgral.detection import metrics, npz_files
    from mgral.detection.checkpoint import initial_weights, kept_checkpoint
    from mgral.detection.device import prepare_device
    from mgral.detection.training import TrainingConfig
    from mgral.strategies import _contract
    from mgral.strategies._context import StrategyContext

    params = _arguments.read_params(Params, arguments.params)
    strategy, plugin, options = _contract.find(params.strategies, arguments.strategy)
    if "image_scores" not in plugin.NEEDS:
        raise MgralError(
            f"--strategy: {strategy.plugin} scores no images in a step of its own; go on with `mgral select`"
        )
    if arguments.own is not None and not hasattr(plugin, "score_and_detect"):
        raise MgralError(f"--own: {strategy.plugin} has no detector of its own to report; leave it out")
    machine = prepare_device(params.machine)
    dataset = dataset_json.read(arguments.dataset)
    pool = read_pool(arguments.pool, dataset)
    labels = {i: dataset.boxes[i] for i in pool.labelled}
    modules = [
        __name__,
        f"mgral.strategies.{strategy.plugin}",
        f"mgral.detection.detectors.{params.detector.name}",
    ]
    inputs = [arguments.dataset, arguments.pool, arguments.detector]
    large = [arguments.images, *initial_weights(params.detector)]
    cache = Cache(replace(dataset, boxes=labels), arguments.images, params.machine.decoders)
    seed = random_streams.stream(arguments.seed, "assess", pool.cycle)
    with kept_checkpoint(arguments.out, params, arguments.seed, inputs, modules, large) as checkpoint:
        context = StrategyContext(
            pool,
            dataset.classes,
            cache,
            params.detector,
            arguments.detector,
            TrainingConfig(**params.training.model_dump()),
            params.evaluation,
            machine,
            checkpoint,
            arguments.log,
        )
        if arguments.own is None:
            image_scores = plugin.score(context, seed, options)
        else:
            image_scores, detect = plugin.score_and_detect(context, seed, options)
            metrics.write(arguments.own, dataset, pool, detect, params.evaluation.max_detections)
        npz_files.write_image_scores(image_scores, arguments.out)
