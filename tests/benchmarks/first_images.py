"""What do the first images of FreeSel show, beside random ones? Nothing is trained.

It needs a data set that a run has imported, and local weights of a backbone:

    snakemake --cores 1 --configfile params/voc_small.yaml -- data/runs/voc_small/dataset/images.npy
    python tests/benchmarks/first_images.py --params params/base.yaml params/voc_small.yaml --weights FILE
        --backbone mobilenetv1_100 --options '{"pad_type": "same", "bn_eps": 0.001, "out_indices": [1, 2, 3]}'

One line for each of both: classes with an object, boxes, and boxes of the rarest half of the classes among ``--images``
images, means over ``--seeds`` draws; then the paired differences with 95 % t-intervals.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats

from mgral.config import loading
from mgral.config.embedding import Backbone
from mgral.config.schema import Initial, Machine
from mgral.core import run_layout
from mgral.core.types import Dataset, Doubles, Patterns
from mgral.data import dataset_json
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool
from mgral.detection import backbone_embedding
from mgral.detection.device import prepare_device
from mgral.strategies import _first_pool

MEASURED = ("classes", "boxes", "boxes of rare classes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", nargs="+", required=True, help="parameter files of the run, base first")
    parser.add_argument("--backbone", default="resnet18", help="timm or torchvision model; default resnet18")
    parser.add_argument("--options", type=json.loads, default={}, help="arguments that build it, JSON")
    parser.add_argument("--weights", required=True, help="local weights file, or random")
    parser.add_argument("--images", type=int, default=50, help="of a draw; default 50")
    parser.add_argument("--seeds", type=int, default=20, help="draws; default 20")
    arguments = parser.parse_args()
    run = Path(run_layout.run_folder(loading.read(arguments.params).experiment))
    dataset = dataset_json.read(run / run_layout.RUN.dataset)
    ids = [i for i in sorted(dataset.ids("train")) if i in dataset.boxes]
    backbone = Backbone(backbone=arguments.backbone, options=arguments.options, weights=arguments.weights)
    device = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    cache = Cache(dataset, run / run_layout.RUN.images)
    local = backbone_embedding.compute(backbone, "embedding", cache, ids, device, 5)[1]
    patterns = Patterns(np.array(ids), local)
    found = {}
    for how in ("random", "freesel"):
        params = Initial.model_validate({"initial": arguments.images, "initial_by": how})
        pools = [_first_pool.draw(params, ids, ids, seed, patterns) for seed in range(arguments.seeds)]
        found[how] = np.array([shown(pool, dataset) for pool in pools])
        print(
            f"{how:<8}", ", ".join(f"{what} {x:.1f}" for what, x in zip(MEASURED, found[how].mean(axis=0), strict=True))
        )
    for what, apart in zip(MEASURED, (found["freesel"] - found["random"]).T, strict=True):
        low, high = stats.t.interval(0.95, len(apart) - 1, apart.mean(), stats.sem(apart))
        print(f"{what}: freesel - random {apart.mean():+.1f} ({low:+.1f} to {high:+.1f})")


def shown(pool: Pool, dataset: Dataset) -> Doubles:
    """The measured numbers of a pool's labelled images; boxes to ignore do not count."""
    classes = len(dataset.classes)

    def counted(ids: list[int]) -> Doubles:
        labels = [dataset.boxes[i].labels[~dataset.boxes[i].ignore] for i in ids]
        return np.bincount(np.concatenate(labels), minlength=classes).astype(np.float64)

    here, everywhere = counted(pool.labelled_ids), counted([*pool.labelled, *pool.unlabelled])
    rare = np.argsort(everywhere, kind="stable")[: classes // 2]
    return np.array([(here > 0).sum(), here.sum(), here[rare].sum()], np.float64)


if __name__ == "__main__":
    main()
