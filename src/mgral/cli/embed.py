"""Embed every image of the pool and detect objects in it, in one pass."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.embedding import StoredEmbedding
from mgral.config.schema import DetectorParams, Evaluation, Machine
from mgral.core.errors import MgralError

OUTPUTS = ("embeddings", "detections", "hint")  # options that name what is written, beside --out


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    embedding: StoredEmbedding
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector")
    parser.add_argument("--embeddings", required=True, type=Path, help="embeddings.npz to write")
    parser.add_argument("--detections", required=True, type=Path, help="detections.npz to write")
    parser.add_argument("--foundation", type=Path, help="foundation.npz, for embedding.kind: backbone")
    parser.add_argument(
        "--keep",
        nargs="*",
        choices=("probabilities", "features"),
        default=("probabilities", "features"),
        help="what is kept of each detection beside box, score and class; default: both",
    )
    parser.add_argument(
        "--hint",
        type=Path,
        help="hint.json to write, for the pool of replay: only held-out images get detections, and this file says "
        "how well the detector does on those that it is uncertain of",
    )


def run(arguments: argparse.Namespace) -> None:
    from mgral.detection.embedding import embed
    from mgral.detection.trainers import open_trainer

    params = _arguments.read_params(Params, arguments.params)
    by_backbone = params.embedding.kind == "backbone"
    if by_backbone != (arguments.foundation is not None):
        raise MgralError(
            f"--foundation: {'missing' if by_backbone else 'given'}, but embedding.kind is {params.embedding.kind}; "
            "change one of them"
        )
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    trainer = open_trainer(params.detector, dataset, cache, params.evaluation, machine)
    held_out = frozenset(pool.unlabelled) if arguments.hint else None
    files = arguments.embeddings, arguments.detections
    with tempfile.TemporaryDirectory() as folder:
        trainer.load(arguments.detector, Path(folder))
        ids = [*pool.labelled, *pool.unlabelled]
        found = embed(
            trainer,
            ids,
            len(dataset.classes),
            *files,
            arguments.keep,
            held_out,
            arguments.foundation,
            params.embedding.precision,
        )
    if arguments.hint:
        from mgral.reward import learnability

        found_hint = learnability.hint(dataset, found, trainer.activation, params.evaluation.max_detections)
        learnability.write(found_hint, arguments.hint)
        logging.info("%s", found_hint.text)
