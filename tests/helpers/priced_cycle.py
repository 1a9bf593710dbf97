"""A cycle in files up to its table and agent, for tests of what reads ``price.npz``; no detector is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from mgral import cli
from mgral.agent.policy import Policy
from mgral.config import loading
from mgral.core.files import write_json
from mgral.core.types import Boxes, Dataset, Detections, Embeddings, Image, Record
from mgral.data import dataset_json
from mgral.data.pool import Pool, write_pool
from mgral.detection import detections_file, npz_files
from mgral.reward import records
from mgral.reward.growth import FEATURES, World
from mgral.strategies import _evidence_files

BASE = Path(__file__).resolve().parents[2] / "params" / "base.yaml"
CLASSES = ("ant", "bee")
LABELLED, IMAGES, WIDTH = range(1, 13), range(1, 61), 8
READ = ["--dataset=dataset.json", "--pool=pool.json", "--embeddings=embeddings.npz", "--detections=detections.npz"]

VAL = {"per_class": {"ant": 0.4, "bee": 0.1}, "confident": {"detections": 20, "right": 15}}  # of metrics.json


def make(folder: Path, strategies: Sequence[str] = ("mgral",), batch: int = 5, slope: float = 0.3) -> None:
    """Write the cycle into ``folder``, which must be the current one: 12 labelled images, 48 in the pool.

    Args:
        folder: where ``p.yaml``, ``dataset.json``, ``pool.json``, ``embeddings.npz``, ``detections.npz``,
            ``metrics.json``, ``table/`` and ``agent.safetensors`` (untrained) go.
        strategies: of the parameters.
        batch: ``budget.batch``.
        slope: gain of the 20 records in mAP per nat of ``learnable``, without noise; at 0 no signal.
    """
    given = loading.read_yaml(BASE)
    given |= {"strategies": list(strategies), "machine": {"threads": 1, "precision": "fp32", "device": "cpu"}}
    given["budget"]["batch"] = batch
    given["table"]["prior"] = "learnable"
    (folder / "p.yaml").write_text(yaml.safe_dump(given))
    rng = np.random.default_rng(3)
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in IMAGES}
    boxes = {i: _boxes(rng, 1 + i % 3) for i in IMAGES}
    dataset_json.write(Dataset(CLASSES, images, boxes, folder), {}, folder / "dataset.json")
    pool = Pool(0, dict.fromkeys(LABELLED, 0), tuple(i for i in IMAGES if i not in LABELLED))
    write_pool(pool, folder / "pool.json")
    vectors = rng.normal(size=(len(IMAGES), WIDTH)).astype(np.float32)
    npz_files.write_embeddings(Embeddings(np.array(IMAGES), vectors), folder / "embeddings.npz")
    found = {i: _detections(rng, i % 6) for i in IMAGES}
    detections_file.write(folder / "detections.npz", found, "softmax", len(CLASSES))
    write_json(folder / "metrics.json", {"val": VAL})
    own = world(folder)
    for k in range(20):
        ids = tuple(sorted(rng.choice(own.ids, batch, replace=False).tolist()))
        gain = slope * own.features([ids])[0, :, FEATURES.index("learnable")]
        per_class = (0.5 + 0.001 * rng.normal(size=2) + gain).tolist()
        one = Record(ids, "random", float(np.mean(per_class)), 1.0, "unlabelled", 0, per_class=tuple(per_class))
        records.write(one, folder / "proxies" / f"{k}.json")
    files = [f"proxies/{k}.json" for k in range(20)]
    assert (
        cli.main(["table", "--params=p.yaml", *READ, "--competence=metrics.json", "--out=table", "--records", *files])
        == 0
    )
    Policy(WIDTH + len(FEATURES), 9, seed=5).save(folder / "agent.safetensors")


def world(folder: Path) -> World:
    """The pool as the representation growth describes it."""
    cycle = folder / "pool.json", folder / "embeddings.npz", folder / "detections.npz"
    return _evidence_files.read_worlds(dataset_json.read(folder / "dataset.json"), cycle, folder / "metrics.json").own


def picked(folder: Path, name: str = "selected.json") -> list[int]:
    """Ids of a selection, in its order."""
    return [pick["id"] for pick in json.loads((folder / name).read_text())["picks"]]


def _boxes(rng: np.random.Generator, count: int) -> Boxes:
    corner = rng.integers(0, 40, (count, 2)).astype(np.float32)
    return Boxes(np.hstack([corner, corner + 20]), rng.integers(0, 2, count), np.zeros(count, np.bool_))


def _detections(rng: np.random.Generator, count: int) -> Detections:
    """Softmax over the background and the classes, best first."""
    probs = rng.dirichlet(np.ones(1 + len(CLASSES)), count).astype(np.float32)
    order = np.argsort(-probs[:, 1:].max(axis=1)) if count else np.zeros(0, np.int64)
    probs, corner = probs[order], rng.integers(0, 40, (count, 2)).astype(np.float32)
    of_classes = probs[:, 1:]
    return Detections(
        np.hstack([corner, corner + 20]), of_classes.max(axis=1, initial=0), of_classes.argmax(axis=1), probs
    )
