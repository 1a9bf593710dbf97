"""What would the published reward have said of the batches that strategies chose, and what did their labels say?

For a run that is finished, such as params/generated.yaml's; a proxy for each batch of cycle 0:

    snakemake --cores all --configfile params/generated.yaml
    python tests/benchmarks/chosen.py --params params/base.yaml params/generated.yaml

One line a strategy, means over the seeds: the gain of the batch's proxy (without labels, as published) over the random
records of the same cycle (nan for a run of replay records alone), the mAP on val after training with the labels, the
boxes of each class in the batch, and of how many scenes its images are, where the data set is a generated one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mgral.config import loading
from mgral.config.schema import Params
from mgral.core.files import read_json
from mgral.core.types import Dataset
from mgral.data import dataset_json
from mgral.data.image_cache import Cache
from mgral.data.pool import read_pool
from mgral.data.selection import read_selection
from mgral.detection.device import prepare_device
from mgral.reward import records
from mgral.reward.proxy import ProxyTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", nargs="+", required=True, help="parameter files of the run, base first")
    experiment = loading.read(parser.parse_args().params)
    run = Path("data/runs") / experiment.experiment
    dataset = dataset_json.read(run / "dataset" / "dataset.json")
    scenes = read_scenes(Path("data/raw") / experiment.experiment / "annotations.json")
    rows: dict[str, list[list[float]]] = {strategy.name: [] for strategy in experiment.strategies}
    for seed in experiment.seeds:
        for name, found in rows.items():
            found.append(chosen(name, seed, run, dataset, experiment, scenes))
            print(f"  seed {seed}, {name}: {said(np.array(found[-1]), dataset)}", flush=True)
    for name, found in rows.items():
        print(f"{name:<14} {said(np.mean(found, axis=0), dataset)}")


def chosen(
    name: str, seed: int, run: Path, dataset: Dataset, experiment: Params, scenes: Mapping[int, int]
) -> list[float]:
    """Gain of the batch's proxy, mAP with its labels, its scenes, and its boxes of each class."""
    cycle = run / "shared" / f"seed-{seed}" / "cycle-0"
    own = run / name / f"seed-{seed}"
    ids = read_selection(own / "cycle-0" / "selected.json").ids
    gain = published(ids, seed, run, cycle, dataset, experiment) if "unlabelled" in experiment.proxy.kinds else np.nan
    trained = read_json(own / "cycle-1" / "metrics.json")["val"]["mAP"]
    labels = np.concatenate([dataset.boxes[i].labels for i in ids])
    counts = np.bincount(labels, minlength=len(dataset.classes))
    return [gain, trained, len({scenes.get(i, -i) for i in ids}), *counts.tolist()]


def published(ids: list[int], seed: int, run: Path, cycle: Path, dataset: Dataset, experiment: Params) -> float:
    """mAP of the batch's proxy, without its labels, less the mean of the cycle's random batches."""
    given = (experiment.detector, experiment.proxy, experiment.evaluation)
    machine = prepare_device(experiment.machine)
    cache, pool = Cache(dataset, run / "dataset" / "images.npy"), read_pool(cycle / "pool.json", dataset)
    weights = cycle / "detector.safetensors"
    record = ProxyTrainer(dataset, cache, pool, weights, given, machine, seed).train(sorted(ids), "search")
    drawn = [records.from_json(read_json(path), str(path)) for path in sorted((cycle / "proxies").glob("*.json"))]
    return record.mAP - records.references(drawn)[0, "unlabelled", 1]


def read_scenes(path: Path) -> dict[int, int]:
    """The scene that each image of a generated data set shows; none for another data set."""
    if not path.exists():
        return {}
    return {image["id"]: image["scene"] for image in read_json(path)["images"]}


def said(row: Sequence[float] | np.ndarray, dataset: Dataset) -> str:
    gain, trained, scenes, *counts = row
    boxes = ", ".join(f"{name} {count:.0f}" for name, count in zip(dataset.classes, counts, strict=True))
    return f"proxy {gain:+.4f}, with labels {trained:.4f}, scenes {scenes:.1f}, boxes: {boxes}"


if __name__ == "__main__":
    main()
