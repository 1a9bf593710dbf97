"""Train the detector of a cycle on its labelled pool and evaluate it on val and test."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgral.cli import _arguments, _checkpoint, _metrics
from mgral.params import DetectorParams, Evaluation, Machine, Training
from mgral.settings import Settings
from mgral.types import Detections


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
    from mgral import detectors, seeds
    from mgral.cli import _cycle
    from mgral.inference import look
    from mgral.training.loop import Plan, fit

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _cycle.open_files(arguments, params.machine)
    seed = seeds.stream(arguments.seed, "train", pool.cycle)
    detector = detectors.build(params.detector.name, dataset.classes, cache.size, params.detector.options, seed)
    out = arguments.out
    inputs = [arguments.dataset, arguments.pool]
    modules = [__name__, f"mgral.detectors.{params.detector.name}"]
    large = [arguments.images, *_checkpoint.weights(params.detector)]
    plan = Plan(**params.training.model_dump())

    def detect(ids: Sequence[int]) -> Mapping[int, Detections]:
        return look(detector, cache, ids, params.evaluation, machine).detections

    weights = out / "detector.safetensors"
    with _checkpoint.kept(weights, params, arguments.seed, inputs, modules, large) as checkpoint:
        rows = fit(detector, cache, pool.labelled_ids, plan, machine, seed, checkpoint=checkpoint)
        detectors.save(detector, weights)
        _write_rows(rows, out / "train.csv")
        _metrics.write(out / "metrics.json", dataset, pool, detect, params.evaluation.max_detections)


def _write_rows(rows: list[dict[str, float]], path: Path) -> None:
    """Write ``train.csv``, numbers to six digits. Not by pandas, whose import takes as long as many steps."""
    from mgral.files import whole

    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in r.values()] for r in rows)
