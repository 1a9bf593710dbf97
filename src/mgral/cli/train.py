"""Train the detector of a cycle on its labelled pool and evaluate it on val and test."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import Any

from mgral.cli import _arguments, _checkpoint
from mgral.params import DetectorParams, Evaluation, Machine, Training
from mgral.pools import Pool
from mgral.settings import Settings
from mgral.types import Boxes, Dataset


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
    from mgral import compute, datasets, detectors, pools, seeds
    from mgral.files import write_json
    from mgral.images import Cache
    from mgral.training.loop import Plan, fit

    params = _arguments.read_params(Params, arguments.params)
    machine = compute.prepare(params.machine)
    dataset, pool = datasets.read(arguments.dataset), pools.read(arguments.pool)
    cache = Cache(dataset, arguments.images)
    seed = seeds.stream(arguments.seed, "train", pool.cycle)
    detector = detectors.build(params.detector.name, dataset.classes, cache.size, params.detector.options, seed)
    out = arguments.out
    inputs = [arguments.dataset, arguments.pool]
    modules = [__name__, f"mgral.detectors.{params.detector.name}"]
    checkpoint = _checkpoint.place(out / "detector.safetensors", params, arguments.seed, inputs, modules)
    plan = Plan(**params.training.model_dump())
    rows = fit(detector, cache, pool.labelled_ids, plan, machine, seed, checkpoint=checkpoint)
    detectors.save(detector, out / "detector.safetensors")
    _write_rows(rows, out / "train.csv")
    results = _evaluate(detector, cache, dataset, params.evaluation, machine)
    write_json(out / "metrics.json", {"cycle": pool.cycle, **_labelled(dataset, pool), **results})


def _write_rows(rows: list[dict[str, float]], path: Path) -> None:
    """Write ``train.csv``, numbers to six digits. Not by pandas, whose import takes as long as many steps."""
    from mgral.files import whole

    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([f"{value:.6g}" if isinstance(value, float) else value for value in r.values()] for r in rows)


def _evaluate(detector: Any, cache: Any, dataset: Dataset, params: Evaluation, machine: Any) -> dict[str, Any]:
    from mgral.evaluation import evaluate
    from mgral.inference import look

    results = {}
    for split in ("val", "test"):
        ids = dataset.ids(split)
        views = look(detector, cache, ids, params, machine)
        results[split] = evaluate(dataset, views.detections, ids, params.max_detections)
    return results


def _labelled(dataset: Dataset, pool: Pool) -> dict[str, Any]:
    """What the labels of the pool cost, in images and in boxes."""
    counts: Counter[int] = Counter()
    for i in pool.labelled_ids:
        counts.update(dataset.boxes.get(i, Boxes.empty()).labels.tolist())
    classes = {name: counts[k] for k, name in enumerate(dataset.classes)}
    return {"images": len(pool.labelled), "boxes": sum(counts.values()), "classes": classes}
