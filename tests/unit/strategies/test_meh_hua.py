"""meh_hua: the head's shape and training, boxes that belong to objects, and aggregation by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context

from mgral.config.schema import Machine
from mgral.core.types import Boxes, Dataset, Image
from mgral.data.image_cache import Cache
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.priors import PriorOutput
from mgral.detection.training import TrainingConfig
from mgral.strategies.meh_hua import Options, aggregation, evidence_head
from mgral.strategies.meh_hua.aggregation import ObjectBoxes

SIZE = 96
pytestmark = pytest.mark.usefixtures("small_resnets")


def boxes(*rows: tuple[int, int, int], losses: list[float] | None = None) -> ObjectBoxes:
    """Object, level and class of each box; all with the same probabilities."""
    objects, levels, labels = np.array(rows, np.int64).reshape(-1, 3).T
    return ObjectBoxes(
        objects, levels, labels, np.tile([0.2, 0.5, 0.3], (len(rows), 1)), np.array(losses or [1.0] * len(rows))
    )


ONE = aggregation.image_uncertainty(boxes((0, 0, 0)), 25.0)[0]


@pytest.mark.parametrize(
    ("rows", "times"),
    [
        ([(0, 0, 0), (0, 0, 0)], 1),  # boxes of an object, level and class: their mean
        ([(0, 0, 0), (0, 0, 1)], 2),  # classes: their sum
        ([(0, 0, 0), (0, 1, 0)], 1),  # levels: the largest
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0)], 2),
        ([(0, 0, 0), (1, 0, 0)], 2),  # objects: their sum
        ([(5, 2, 0), (5, 2, 1), (7, 0, 0)], 3),
    ],
)
def test_aggregation_by_hand(rows: list[tuple[int, int, int]], times: int) -> None:
    uncertainty, objects = aggregation.image_uncertainty(boxes(*rows), 25.0)
    assert uncertainty == pytest.approx(times * ONE)
    assert objects == len({row[0] for row in rows})


def test_an_image_without_objects_has_no_uncertainty() -> None:
    assert aggregation.image_uncertainty(boxes(), 25.0) == (0.0, 0)


def test_evidence_is_relative_to_the_level() -> None:
    found = aggregation.evidence(np.array([1.0, 3.0, 8.0]), np.array([0, 0, 2]), 25.0)
    assert found == pytest.approx([50.0, 25 * 2 / 3, 25.0], rel=1e-6)


def test_thin_evidence_is_uncertain_and_a_sure_class_is_not() -> None:
    p = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    thick, thin, sure = aggregation.epistemic(p, np.array([1000.0, 2.0, 2.0]))
    assert 0 < thick < 0.001 < thin and sure == 0
    # Dirichlet(1, 1) is uniform: ln 2 - E[H(q)] = ln 2 - 1/2
    assert thin == pytest.approx(np.log(2) - 0.5)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Four images of noise with a bright square each."""
    pixels = np.random.default_rng(0).integers(0, 80, (4, SIZE, SIZE, 3), dtype=np.uint8)
    listed, truth = {}, {}
    for i in range(4):
        pixels[i, 20:60, 20 + i : 60 + i] = 230
        listed[i + 1] = Image(i + 1, f"{i}.png", SIZE, SIZE, "train")
        xyxy = np.array([[20 + i, 20, 60 + i, 60]], np.float32)
        truth[i + 1] = Boxes(xyxy, np.array([i % 2]), np.array([False]))
    np.save(tmp_path / "images.npy", pixels)
    return Cache(Dataset(("large", "small"), listed, truth, tmp_path), tmp_path / "images.npy")


@pytest.mark.parametrize("name", ["tiny_ssd", "retinanet"])
def test_a_number_for_every_prior_in_their_order(name: str) -> None:
    detector = build_detector(name, ["a", "b"], SIZE, {}, 0)
    head = evidence_head.EvidenceHead(detector, 8)
    features = [torch.zeros(2, *shape) for shape in detector.shapes]
    assert head(features).shape == (2, len(detector.priors))
    # only the priors of a changed cell and of its neighbours move
    plain = head(features)[0]
    features[0][:, :, 0, 0] = 5.0
    moved = torch.nonzero(head(features)[0] != plain).squeeze(1)
    centres = (detector.priors[moved, :2] + detector.priors[moved, 2:]) / 2
    assert len(moved) and centres.max() < 4 * SIZE / detector.shapes[0][1]


@pytest.mark.slow
def test_the_head_learns_to_predict_losses(cache: Cache, tmp_path: Path) -> None:
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    plan = TrainingConfig(40, 4, 3e-3, weight_decay=0.0, warmup=2, augment=False)
    detector = build_detector("tiny_ssd", ("large", "small"), SIZE, {}, 0)
    given = context(cache, [1, 2, 3, 4], plan, machine, log=tmp_path / "train.csv")
    evidence_head.train(detector, given, 0, Options(hidden=8))
    losses = [float(row["evidence"]) for row in csv.DictReader((tmp_path / "train.csv").open())]
    assert len(losses) == 40 and np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert not hasattr(detector, "beside")


def test_boxes_belong_to_the_objects_they_overlap() -> None:
    """Three priors are sure of class 1: the objects are among them, and so are the boxes that overlap an object."""
    detector = build_detector("tiny_ssd", ("a", "b"), SIZE, {}, 0)
    logits = torch.zeros(1, len(detector.priors), 3)
    logits[..., 0] = 9.0
    chosen = [100, 101, 700]
    logits[0, chosen, 2] = torch.tensor([15.0, 14.0, 13.0])
    raw = PriorOutput(logits, torch.zeros(1, len(detector.priors), 4), [torch.zeros(1, *s) for s in detector.shapes])
    objects = detector.predict(raw, 0.3, 0.5, 20)[0]
    numbers = torch.arange(float(len(detector.priors)))
    found = evidence_head._of_image(detector, raw, numbers, objects, 0.3, 0.5)
    assert len(found.losses) >= len(objects.labels) > 0
    assert set(found.losses.astype(int).tolist()) <= set(chosen) and set(found.labels.tolist()) == {1}
    ends = np.cumsum(detector.level_sizes)
    assert [int(np.searchsorted(ends, k, side="right")) for k in found.losses] == found.levels.tolist()
    assert len(set(found.objects.tolist())) == len(objects.labels)


def test_an_image_without_a_sure_detection_has_its_best_one(cache: Cache) -> None:
    """An untrained detector is sure of nothing; asked for more than there is, it still gives an object an image."""
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    detector = build_detector("retinanet", ("large", "small"), SIZE, {}, 0)
    head = evidence_head.EvidenceHead(detector, 8)
    given = context(cache, [1], TrainingConfig(1, 1, 1e-3, 0.0, 0, False), machine)
    found = list(evidence_head.boxes_of_objects(detector, head, given, [2, 3, 4], Options(min_score=0.9)))
    assert [len(set(one.objects.tolist())) >= 1 for one in found] == [True] * 3
    assert all(aggregation.image_uncertainty(one, 25.0)[0] > 0 for one in found)
