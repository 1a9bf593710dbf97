"""Train the detector of a cycle on its labelled pool and evaluate it on val and test."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Evaluation, Machine, Training
from mgral.core.run_layout import CYCLE
from mgral.core.types import Detections
from mgral.detection import metrics
from mgral.detection.checkpoint import initial_weights, kept_checkpoint

FOLDERS = ("out",)  # outputs that are folders


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    training: Training
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "folder for detector.safetensors, metrics.json and train.csv")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import random_streams
    from mgral.detection.trainers import open_trainer
    from mgral.detection.training import TrainingConfig

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    seed = random_streams.stream(arguments.seed, "train", pool.cycle)
    plan = TrainingConfig(**params.training.model_dump())
    trainer = open_trainer(params.detector, dataset, cache, params.evaluation, machine, plan)
    out = arguments.out
    inputs = [arguments.dataset, arguments.pool]
    modules = [__name__, f"mgral.detection.detectors.{params.detector.name}"]
    large = [arguments.images, *initial_weights(params.detector)]

    def detect(ids: Sequence[int]) -> Mapping[int, Detections]:
        return trainer.infer(ids, embed=False).detections

    weights = out / CYCLE.detector
    with kept_checkpoint(weights, params, arguments.seed, inputs, modules, large) as checkpoint:
        rows = trainer.train(pool.labelled_ids, seed, checkpoint)
        # first what can fail: where a user's command predicts nothing that counts, no output is left
        metrics.write(out / CYCLE.metrics, dataset, pool, detect, params.evaluation.max_detections)
        trainer.save(weights)
        _write_rows(rows, out / CYCLE.training)


def _write_rows(rows: list[dict[str, float]], path: Path) -> None:
    """Write ``train.csv``, numbers to six digits. Not by pandas, whose import takes as long as many steps."""
    from mgral.core.files import whole

    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in r.values()] for r in rows)
