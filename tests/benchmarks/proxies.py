"""Proxy runs an hour: what a cycle's job does, against the plain way, with tiny_ssd.

It needs the data set that a run has imported, and takes a few minutes:

    snakemake --cores 1 --configfile params/bccd.yaml -- data/runs/bccd/dataset/images.npy
    python tests/benchmarks/proxies.py                             # BCCD
    snakemake --cores 1 -- data/runs/demo/dataset/images.npy
    python tests/benchmarks/proxies.py --params params/base.yaml   # the generated set

The plain way: one process a run, from scratch, in float32, each image decoded whenever it is needed. Ours: one process
for ``--runs`` proxies, from the detector of the pool, in bfloat16 where the processor has it, from decoded images: with
all layers learning for half as many steps, or for the demo's 40 (short), and with a frozen backbone whose maps are
computed once. Each is the replay proxy of the package, on the same pool and batches, so only what the names say
differs. How well each ranks batches is for tests/benchmarks/shortcuts.py to say: docs/results/fidelity.md.

Seconds are processor time, start of the interpreter included, so that other work on the machine hardly counts. To
reach: a ratio of 6.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mgral.config import loading
from mgral.config.schema import Machine, Params
from mgral.core import random_streams
from mgral.core.types import Dataset
from mgral.data import dataset_json
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool, initial_pool
from mgral.detection.base import build_detector, load_detector, save_detector
from mgral.detection.device import prepare_device
from mgral.detection.training import TrainingConfig, fit
from mgral.reward import proxy

FILES = ["params/base.yaml", "params/bccd.yaml"]
LABELLED, BATCH, SHORT = 60, 20, 40
WAYS = {
    "plain": {"start": "scratch", "backbone": "learns"},
    "half as long": {"start": "detector", "backbone": "learns"},
    "short": {"start": "detector", "backbone": "learns"},
    "frozen backbone": {"start": "detector", "backbone": "frozen"},
}


class Decoding(Cache):
    """Images that are read from their files each time."""

    def __init__(self, dataset: Dataset, path: Path) -> None:
        super().__init__(dataset, path)
        self.decoded = False


def train(way: str, experiment: Params, weights: Path, runs: int) -> None:
    """What one process does."""
    dataset, pool, shown, pixels = world(experiment)
    plain = way == "plain"
    machine = prepare_device(Machine(threads=1, precision="fp32" if plain else "auto", device="cpu"))
    cache = (Decoding if plain else Cache)(dataset, pixels)
    whole = experiment.training.steps
    steps = {"half as long": whole // 2, "short": SHORT}.get(way, whole)
    settings = experiment.proxy.model_copy(update={**WAYS[way], "steps": steps})
    chosen = (experiment.detector, settings, experiment.evaluation)
    maps = None
    if way == "frozen backbone":
        from mgral.detection import feature_cache

        detector = build_detector(experiment.detector.name, dataset.classes, cache.size, {}, 0)
        load_detector(detector, weights)
        maps = weights.with_name("backbone_features.npy")
        feature_cache.write(detector, cache, proxy.shown(pool, "replay", dataset.ids("val")), machine, maps)
    proxies = proxy.ProxyTrainer(dataset, cache, pool, weights, chosen, machine, 0, maps)
    for batch in shown[:runs]:
        record = proxies.train(batch, "random", "replay")
        print(f"  {way}: {record.mAP:.4f}", flush=True)


def world(experiment: Params) -> tuple[Dataset, Pool, list[list[int]], Path]:
    """The data set, a pool whose rest has labels too, batches of it, and the decoded images."""
    folder = Path("data/runs") / experiment.experiment / "dataset"
    dataset = dataset_json.read(folder / "dataset.json")
    pool = initial_pool(dataset.ids("train"), LABELLED, 0)
    draw = random_streams.generator("benchmark of proxies")
    shown = [draw.choice(pool.unlabelled, BATCH, replace=False).tolist() for _ in range(64)]
    return dataset, pool, shown, folder / "images.npy"


def seconds(way: str, files: Sequence[str], weights: Path, runs: int) -> float:
    """Processor time of a process, a run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--params", *files, "--way", way, "--weights", weights, "--runs", str(runs)]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="proxies of a process, at most 64; default 12")
    parser.add_argument("--params", nargs="+", default=FILES, help="parameter files of the run; default BCCD's")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    experiment = loading.read(arguments.params)
    if arguments.way:
        train(arguments.way, experiment, arguments.weights, arguments.runs)
        return
    dataset, pool, _, pixels = world(experiment)
    machine = prepare_device(Machine(threads=1, precision="auto", device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "detector.safetensors"
        cache = Cache(dataset, pixels)
        detector = build_detector(experiment.detector.name, dataset.classes, cache.size, {}, 0)
        plan = replace(TrainingConfig(**experiment.training.model_dump()), checkpoint_every=0)
        fit(detector, cache, pool.labelled_ids, plan, machine, 0)
        save_detector(detector, weights)
        plain = seconds("plain", arguments.params, weights, 1)
        print(f"plain: {plain:.1f} s a run, {3600 / plain:.0f} an hour and core")
        for way in ("half as long", "short", "frozen backbone"):
            own = seconds(way, arguments.params, weights, arguments.runs)
            print(f"{way}: {own:.2f} s a run, {3600 / own:.0f} an hour and core, ratio={plain / own:.1f}")


if __name__ == "__main__":
    main()
