"""Processor time of every strategy per 1,000 images, on the pool of a run whose cycle 0 is finished.

    snakemake --cores 1 --configfile params/bccd.yaml -- data/runs/bccd/shared/seed-0/cycle-0/metrics.json
    python tests/benchmarks/strategies.py --params params/base.yaml params/bccd.yaml --seed 0

One line a strategy, with its default options: seconds of ``select`` per 1,000 images of the pool; of ``score`` per
1,000 unlabelled images beyond the first, and of ``score`` for one image, which is what a training costs; one thread.
Trainings are cut to ``--steps`` steps, since they do not depend on the size of the pool. ``freesel``'s patterns come
from a resnet18 with random weights. Peak memory and ratios are in the benchmarks of single strategies.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mgral.agent.policy import Policy
from mgral.config import loading
from mgral.config.embedding import Backbone
from mgral.config.schema import Machine, Params
from mgral.core import plugins, run_layout
from mgral.core.types import Dataset, Patterns
from mgral.data import dataset_json
from mgral.data.evidence import Evidence
from mgral.data.image_cache import Cache
from mgral.data.pool import read_pool
from mgral.detection import backbone_embedding
from mgral.detection.base import restore_detector
from mgral.detection.device import Device, prepare_device
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig
from mgral.strategies._context import StrategyContext

REPEATS = 5  # of a selection; the least counts
PATTERNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", nargs="+", required=True, help="parameter files of the run, base first")
    parser.add_argument("--seed", type=int, default=0, help="of the run; default 0")
    parser.add_argument("--steps", type=int, default=20, help="of a training; default 20")
    parser.add_argument("--strategies", nargs="*", default=plugins.names("strategies"), help="default: all")
    arguments = parser.parse_args()
    experiment = loading.read(arguments.params)
    run = Path(run_layout.run_folder(experiment.experiment))
    cycle = Path(run_layout.cycle_folder(run, run_layout.SHARED, arguments.seed, 0))
    dataset = dataset_json.read(run / run_layout.RUN.dataset)
    cache = Cache(dataset, run / run_layout.RUN.images)
    device = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    with TemporaryDirectory() as folder:
        context = context_of(experiment, dataset, cache, cycle, device, Path(folder), arguments.steps)
        given = evidence_of(context, dataset, Path(folder))
        for name in arguments.strategies:
            print(f"{name:<18} {measured(name, given, context, experiment.budget.batch)}", flush=True)


def context_of(
    experiment: Params, dataset: Dataset, cache: Cache, cycle: Path, device: Device, folder: Path, steps: int
) -> StrategyContext:
    """What a strategy gets that trains or runs a network, for the run's cycle 0."""
    plan = TrainingConfig(**{**experiment.training.model_dump(), "steps": steps, "checkpoint_every": 0})
    return StrategyContext(
        read_pool(cycle / run_layout.CYCLE.pool, dataset),
        dataset.classes,
        cache,
        experiment.detector,
        cycle / run_layout.CYCLE.detector,
        plan,
        experiment.evaluation,
        device,
        folder / "none.ckpt",
    )


def evidence_of(context: StrategyContext, dataset: Dataset, folder: Path) -> Evidence:
    """All that a strategy may look at, image scores left out."""
    pool, cache, device = context.pool, context.cache, context.device
    ids = sorted([*pool.labelled, *pool.unlabelled])
    detector = restore_detector(context.detector, dataset.classes, cache.size, context.weights)
    found = run_inference(detector, cache, ids, context.evaluation, device, features=True)
    Policy(found.embeddings.vectors.shape[1], 257, seed=0).save(folder / "agent.safetensors")
    backbone = Backbone(options={"out_indices": [2, 3]}, weights="random")
    local: list[Patterns] = []

    def describe() -> None:
        vectors = backbone_embedding.compute(backbone, "embedding", cache, ids, device, PATTERNS)[1]
        local.append(Patterns(np.array(ids), vectors))

    described = seconds(describe)
    mean = np.mean([len(one) for one in found.detections.values()])
    print(f"{len(ids)} images, {len(pool.unlabelled)} of them unlabelled, {mean:.0f} detections each, {cache.size} px")
    print(f"resnet18: embedding and local patterns {1000 * described / len(ids):.2f} s per 1,000 images")
    return Evidence(
        pool,
        dataset.classes,
        found.detections,
        detector.activation,
        found.embeddings,
        folder / "agent.safetensors",
        {i: dataset.boxes[i] for i in pool.labelled},
        {i: dataset.boxes[i] for i in ids},
        None,
        np.full(len(dataset.classes), 0.3),
        {i: found.detections[i] for i in pool.labelled_ids[::2]},
        local[0],
    )


def measured(name: str, given: Evidence, context: StrategyContext, budget: int) -> str:
    """A line's figures."""
    plugin: Any = plugins.load("strategies", name)
    options, count = plugin.Options(), len(given.pool.labelled) + len(given.pool.unlabelled)
    scored = ""
    if "image_scores" in plugin.NEEDS:
        ids = given.pool.unlabelled
        found = plugin.score(context, 0, options)
        whole = seconds(lambda: plugin.score(context, 0, options))
        one = replace(context, pool=replace(given.pool, unlabelled=ids[:1]))
        alone = seconds(lambda: plugin.score(one, 0, options))
        scored = f", score {1000 * (whole - alone) / (len(ids) - 1):.1f} s per 1,000 and {alone:.1f} s for one image"
        given = replace(given, image_scores=found)
    select = min(seconds(lambda: plugin.select(given, budget, 0, options)) for _ in range(REPEATS))
    return f"select {1000 * select / count:.3f} s per 1,000{scored}"


def seconds(call: Callable[[], Any]) -> float:
    """Processor time of a call in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    call()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
