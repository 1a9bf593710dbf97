"""Proxy runs an hour: what a cycle's job does, against the plain way, with tiny_ssd.

    python tests/benchmarks/proxies.py  # the generated set, and BCCD if it is there
    python tests/benchmarks/proxies.py --params params/base.yaml params/bccd.yaml

It runs in the root of the repository and imports the data set of the run first, unless that was done. The plain way:
one process a run, from scratch, in float32, each image decoded whenever it is needed. Ours: one process for ``--runs``
proxies, from the detector of the pool, in bfloat16 where the processor has it, from decoded images: with all layers
learning for half as many steps, or for the demo's 40 (short), and with a frozen backbone whose maps are computed once.
Each is the replay proxy of the package, on the same pool and batches, so only what the names say differs. How well each
ranks batches is for tests/benchmarks/shortcuts.py to say: docs/results/fidelity.md.

Seconds are processor time, start of the interpreter included, so that other work on the machine hardly counts. The last
line is that of the short proxies on the generated set. To reach: a ratio of 6.
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

GENERATED, BCCD = ["params/base.yaml"], ["params/base.yaml", "params/bccd.yaml"]
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
    images = dataset.ids("train")
    pool = initial_pool(images, min(LABELLED, len(images) // 2), 0)
    draw = random_streams.generator("benchmark of proxies")
    size = min(BATCH, len(pool.unlabelled))
    shown = [draw.choice(pool.unlabelled, size, replace=False).tolist() for _ in range(64)]
    return dataset, pool, shown, folder / "images.npy"


def imported(experiment: Params, files: Sequence[str]) -> bool:
    """Import the data set of a run, unless its images are absent."""
    root = getattr(experiment.dataset, "root", None)
    if root is not None and not Path(root).exists():
        print(f"{experiment.experiment}: {root} is absent", flush=True)
        return False
    target = f"data/runs/{experiment.experiment}/dataset/images.npy"
    command = ["snakemake", "--quiet", "all", "--cores", "1", "--configfile", *files, "--", target]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return True


def seconds(way: str, files: Sequence[str], weights: Path, runs: int) -> float:
    """Processor time of a process, a run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--params", *files, "--way", way, "--weights", weights, "--runs", str(runs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / runs


def compare(files: Sequence[str], runs: int) -> str:
    """Print a line of each way, and return the figures of the short proxies."""
    experiment = loading.read(files)
    if not imported(experiment, files):
        return ""
    dataset, pool, _, pixels = world(experiment)
    machine = prepare_device(Machine(threads=1, precision="auto", device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "detector.safetensors"
        cache = Cache(dataset, pixels)
        detector = build_detector(experiment.detector.name, dataset.classes, cache.size, {}, 0)
        plan = replace(TrainingConfig(**experiment.training.model_dump()), checkpoint_every=0)
        fit(detector, cache, pool.labelled_ids, plan, machine, 0)
        save_detector(detector, weights)
        plain = seconds("plain", files, weights, 1)
        print(f"{experiment.experiment}: plain: {plain:.1f} s a run, {3600 / plain:.0f} an hour and core")
        found = {way: seconds(way, files, weights, runs) for way in ("half as long", "frozen backbone", "short")}
    for way, own in found.items():
        many = f"{own:.2f} s a run, {3600 / own:.0f} an hour and core, ratio {plain / own:.1f}"
        print(f"{experiment.experiment}: {way}: {many}", flush=True)
    return f"ratio={plain / found['short']:.1f} seconds={found['short']:.4g}"


def main() -> None:
    """Compare on one or two data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="proxies of a process, at most 64; default 12")
    parser.add_argument("--params", nargs="+", help="parameter files of one run")
    parser.add_argument("--small", action="store_true", help="a quick check that it runs; its figures mean nothing")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        train(given.way, loading.read(given.params), given.weights, given.runs)
    elif given.small:
        print(compare(["params/base.yaml", "params/tiny.yaml"], 1))
    elif given.params:
        print(compare(given.params, given.runs))
    else:
        compare(BCCD, given.runs)
        print(compare(GENERATED, given.runs))


if __name__ == "__main__":
    main()
