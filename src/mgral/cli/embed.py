"""Embed every image of the pool and detect objects in it, in one pass."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Evaluation, Machine


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector")
    parser.add_argument("--embeddings", required=True, type=Path, help="embeddings.npz to write")
    parser.add_argument("--detections", required=True, type=Path, help="detections.npz to write")
    parser.add_argument(
        "--hint",
        type=Path,
        help="hint.json to write, for the pool of replay: only held-out images get detections, and this file says "
        "how well the detector does on those that it is uncertain of",
    )


def run(arguments: argparse.Namespace) -> None:
    from mgral.detection import npz_files
    from mgral.detection.trainers import open_trainer

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    trainer = open_trainer(params.detector, dataset, cache, params.evaluation, machine)
    with tempfile.TemporaryDirectory() as folder:
        trainer.load(arguments.detector, Path(folder))
        found = trainer.infer([*pool.labelled, *pool.unlabelled])
    npz_files.write_embeddings(found.embeddings, arguments.embeddings)
    kept = {i: found.detections[i] for i in pool.unlabelled} if arguments.hint else found.detections
    npz_files.write_detections(kept, trainer.activation, arguments.detections)
    if arguments.hint:
        from mgral.reward import learnability

        found_hint = learnability.hint(dataset, kept, trainer.activation, params.evaluation.max_detections)
        learnability.write(found_hint, arguments.hint)
        logging.info("%s", found_hint.text)
