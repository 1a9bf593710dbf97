"""`mgral prices`: what the agent would choose with and without polishing, of one scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from worlds import weights

from mgral import cli
from mgral.agent.policy import Policy
from mgral.core.files import write_json
from mgral.core.types import Boxes, Dataset, Detections, Embeddings, Image
from mgral.data import dataset_json
from mgral.data.pool import Pool, write_pool
from mgral.detection import detections_file, npz_files
from mgral.reward import batch_price
from mgral.reward.batch_price import BatchPrice
from mgral.strategies import _evidence_files

COUNT, BATCH, PASSES = 14, 3, 4
OPTIONS = (
    "--params p.json --strategy mgral --dataset dataset.json --pool pool.json --embeddings embeddings.npz"
    " --agent agent.safetensors --price price.npz --seed 0"
)
COMMON = OPTIONS.split()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool of 14 images, two of them labelled, with an agent of untrained weights and a price."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in range(1, COUNT + 1)}
    dataset = Dataset(("ant", "bee"), images, dict.fromkeys((1, 2), Boxes.empty()), tmp_path)
    dataset_json.write(dataset, {}, "dataset.json")
    write_pool(Pool(0, dict.fromkeys((1, 2), 0), tuple(range(3, COUNT + 1))), "pool.json")
    vectors = rng.normal(size=(COUNT, 256)).astype(np.float32)
    npz_files.write_embeddings(Embeddings(np.arange(1, COUNT + 1), vectors), "embeddings.npz")
    detections = {}
    for i in images:
        probs = rng.dirichlet(np.ones(3), size=2).astype(np.float32)
        xyxy = np.array([[1, 1, 9, 9], [20, 20, 40, 40]], np.float32)
        detections[i] = Detections(xyxy, probs[:, 1:].max(axis=1), probs[:, 1:].argmax(axis=1), probs)
    detections_file.write("detections.npz", detections, "softmax", 2)
    scores = {"mAP": 0.3, "AP50": 0.4, "per_class": {"ant": 0.2, "bee": 0.4}}
    write_json("metrics.json", {"images": 2, "boxes": 2, "val": scores, "test": scores})
    cycle = Path("pool.json"), Path("embeddings.npz"), Path("detections.npz")
    worlds = _evidence_files.read_worlds(dataset, cycle, Path("metrics.json"))
    batch_price.write(BatchPrice(worlds.own, weights(2, growth=0.1, learnable=0.2)), "price.npz")
    state = BatchPrice(worlds.own, None).agent_state(Embeddings(np.arange(1, COUNT + 1), vectors))
    Policy(state.vectors.shape[1], hidden=8, seed=3).save("agent.safetensors")
    given = {"budget": {"batch": BATCH}, "strategies": ["random", "entropy", "mgral"]}
    write_json("p.json", given | {"machine": {"threads": 1, "precision": "fp32", "device": "cpu"}})
    return tmp_path


def test_the_agents_batches_are_those_that_select_would_choose(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mgral.agent import shards

    scans = []

    def counted(*given: object, scored=shards.scored) -> object:
        scans.append(1)
        return scored(*given)

    monkeypatch.setattr(shards, "scored", counted)
    options = ["--detections=detections.npz", "--competence=metrics.json", "--out=prices.json"]
    assert cli.main(["prices", *COMMON, *options, f"--polish={PASSES}"]) == 0
    assert len(scans) == 1
    monkeypatch.undo()
    monkeypatch.chdir(files)
    found = {one["name"]: one["gain"] for one in json.loads(Path("prices.json").read_text())["batches"]}
    assert set(found) == {"random", "entropy", "mgral, agent", "mgral, polished"}
    price = batch_price.read("price.npz", npz_files.read_embeddings("embeddings.npz"))
    for name, passes in (("mgral, agent", 0), ("mgral, polished", PASSES)):
        assert cli.main(["select", *COMMON, f"--polish={passes}", "--out=selected.json"]) == 0
        picks = [pick["id"] for pick in json.loads(Path("selected.json").read_text())["picks"]]
        assert found[name] == price.of([picks])[0][0]
    assert found["mgral, agent"] < found["mgral, polished"]
