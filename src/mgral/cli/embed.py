"""Embed every image of the pool and detect objects in it, in one pass."""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _arguments
from mgral.params import DetectorParams, Evaluation, Machine
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector")
    parser.add_argument("--embeddings", required=True, type=Path, help="embeddings.npz to write")
    parser.add_argument("--detections", required=True, type=Path, help="detections.npz to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral import arrays, detectors
    from mgral.cli import _cycle
    from mgral.inference import look

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _cycle.open_files(arguments, params.machine)
    detector = detectors.restore(params.detector, dataset.classes, cache.size, arguments.detector)
    views = look(detector, cache, [*pool.labelled, *pool.unlabelled], params.evaluation, machine)
    arrays.write_embeddings(views.embeddings, arguments.embeddings)
    arrays.write_detections(views.detections, detector.activation, arguments.detections)
