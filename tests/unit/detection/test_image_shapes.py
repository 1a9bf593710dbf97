"""What a detector makes of images that keep their shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mgral.config.schema import Evaluation, Machine
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.data.image_cache import Cache
from mgral.data.resizing import Resizing
from mgral.detection import training
from mgral.detection.base import build_detector
from mgral.detection.device import Device, prepare_device
from mgral.detection.inference import run_inference
from mgral.detection.padding import mean_within, seen_cells
from mgral.detection.training import TrainingConfig

PLAN = TrainingConfig(steps=60, batch_size=4, learning_rate=4e-3, weight_decay=0.0, warmup=5, augment=True)
EVALUATION = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=10)
SCENES = 4


@pytest.fixture(scope="module")
def machine() -> Device:
    return prepare_device(Machine(threads=1, precision="fp32", device="cpu"))


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Scenes of noise with a thin tall bar; of each a wide picture (odd ids) and a tall one (even ids)."""
    root, generator = tmp_path_factory.mktemp("bars"), np.random.default_rng(0)
    images, boxes = {}, {}
    for k in range(SCENES):
        scene = generator.integers(0, 90, (256, 256, 3), dtype=np.uint8)
        x, y = generator.integers(8, 100), generator.integers(8, 40)
        scene[y : y + 80, x : x + 16] = 240
        for i, part in ((2 * k + 1, scene[:128]), (2 * k + 2, scene[:, :128])):
            Pillow.fromarray(part).save(root / f"{i}.png")
            images[i] = Image(i, f"{i}.png", part.shape[1], part.shape[0], "train")
            boxes[i] = Boxes(np.array([[x, y, x + 16, y + 80]], np.float32), np.array([0]), np.array([False]))
    return Dataset(("bar",), images, boxes, root)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Resizing("letterbox", 128), Resizing("shortest_edge", 64, 1333)])
def test_a_thin_tall_object_is_found_alike_in_a_wide_and_in_a_tall_image(
    rule: Resizing, bars: Dataset, machine: Device, tmp_path: Path
) -> None:
    image_cache.build(bars, rule, tmp_path / "images.npy")
    cache = Cache(bars, tmp_path / "images.npy")
    detector = build_detector("tiny_ssd", bars.classes, cache.size, {}, 0)
    training.fit(detector, cache, list(bars.images), replace(PLAN, steps=60, augment=False), machine, 0)
    found = run_inference(detector, cache, list(bars.images), EVALUATION, machine).detections
    for k in range(SCENES):
        wide, tall = found[2 * k + 1], found[2 * k + 2]
        assert wide.scores[0] > 0.5 and tall.scores[0] > 0.5
        np.testing.assert_allclose(wide.xyxy[0], tall.xyxy[0], atol=1)  # pixels of the original image
        np.testing.assert_allclose(wide.xyxy[0], bars.boxes[2 * k + 1].xyxy[0], atol=4)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_without_a_decoded_cache_the_weights_are_the_same(
    workers: int, bars: Dataset, machine: Device, tmp_path: Path
) -> None:
    """Also when the training resumes partway."""
    plan, rule = replace(PLAN, steps=4, batch_size=3, checkpoint_every=2), Resizing("letterbox", 64)
    image_cache.build(bars, rule, tmp_path / "decoded.npy")
    image_cache.build(bars, rule, tmp_path / "none.npy", decoded=False)
    caches = [Cache(bars, tmp_path / "decoded.npy"), Cache(bars, tmp_path / "none.npy", workers)]
    trained = [build_detector("tiny_ssd", bars.classes, 64, {}, 0) for _ in caches]
    training.fit(trained[0], caches[0], [1, 2, 3, 4], plan, machine, 0)
    stopped = build_detector("tiny_ssd", bars.classes, 64, {}, 0)
    checkpoint = tmp_path / "half.ckpt"
    training.fit(stopped, caches[1], [1, 2, 3, 4], plan, machine, 0, checkpoint=checkpoint, halt=lambda step: step == 2)
    training.fit(trained[1], caches[1], [1, 2, 3, 4], plan, machine, 0, checkpoint=checkpoint)
    states = [detector.state_dict() for detector in trained]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    one, other = (run_inference(trained[0], cache, list(bars.images), EVALUATION, machine) for cache in caches)
    np.testing.assert_array_equal(one.embeddings.vectors, other.embeddings.vectors)
    assert all(np.array_equal(one.detections[i].xyxy, other.detections[i].xyxy) for i in bars.images)


def test_the_mean_of_a_map_leaves_the_padding_out() -> None:
    features = torch.zeros(2, 1, 4, 4)
    features[0, 0, :2, :] = 3.0
    features[1, 0, :, :1] = 5.0
    extent = np.array([[1.0, 0.5], [0.2, 1.0]], np.float32)  # a cell counts from its first pixel on
    assert mean_within(features, extent)[:, 0].tolist() == [3.0, 5.0]
    assert mean_within(features, None)[:, 0].tolist() == [1.5, 1.25]


def test_the_embedding_does_not_see_the_padding(bars: Dataset, machine: Device) -> None:
    detector = build_detector("tiny_ssd", bars.classes, 64, {}, 0).eval()
    raw = detector(torch.rand(1, 3, 64, 64))
    extent = np.array([[0.5, 1.0]], np.float32)
    before = detector.embed(raw, extent)
    for features in raw.features:
        features.data[..., -(-features.shape[3] // 2) :] = 100.0
    assert torch.equal(detector.embed(raw, extent), before)
    assert not torch.equal(detector.embed(raw), before)


def test_cells_of_the_padding_are_left_out() -> None:
    features = np.arange(32, dtype=np.float32).reshape(2, 1, 4, 4)
    first, second = seen_cells(features, np.array([[1.0, 0.5], [0.3, 1.0]], np.float32))
    assert first.tolist() == features[0, :, :2].tolist()
    assert second.tolist() == features[1, :, :, :2].tolist()
    assert [one.shape for one in seen_cells(features, None)] == [(1, 4, 4)] * 2
