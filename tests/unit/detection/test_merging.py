"""Detections of tiles, put together to those of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from mgral.config.schema import Evaluation
from mgral.core.types import Boxes, Dataset, Detections, Image, Tiling
from mgral.data import image_cache, image_quality, tiles
from mgral.data.image_cache import Cache
from mgral.data.resizing import Resizing
from mgral.detection import feature_cache
from mgral.detection.average_precision import evaluate
from mgral.detection.base import build_detector
from mgral.detection.device import Device
from mgral.detection.inference import in_parts, run_inference
from mgral.detection.merging import mean_vectors, merge
from mgral.detection.training import TrainingConfig, fit

torch = pytest.importorskip("torch")

TILING = Tiling(100, 20, 0.5)
LEFT, RIGHT = (
    Image(k, "a.png", 100, 100, "val", tile=(1, x, 0)) for k, x in enumerate((0, 80))
)  # together 180 x 100, both show 80..100


def found(*rows: tuple[float, float, float, float, float], label: int = 0) -> Detections:
    array = np.array(rows, np.float32).reshape(-1, 5)
    probs = np.repeat(array[:, 4:], 3, axis=1)
    return Detections(array[:, :4], array[:, 4], np.full(len(rows), label, np.int64), probs)


def boxes(one: Detections) -> list[list[float]]:
    return one.xyxy.tolist()


def test_detections_move_to_their_place_in_the_image() -> None:
    merged = merge([found((0, 0, 10, 10, 0.5)), found((60, 0, 70, 10, 0.9))], [LEFT, RIGHT], 0.5, 10)
    assert boxes(merged) == [[140, 0, 150, 10], [0, 0, 10, 10]]
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5])
    assert merged.probs[:, 0].tolist() == pytest.approx([0.9, 0.5])


def test_an_object_that_two_tiles_show_whole_is_found_once() -> None:
    merged = merge([found((82, 10, 97, 20, 0.5))], [LEFT], 0.5, 10)
    assert boxes(merged) == [[82, 10, 97, 20]]
    merged = merge([found((82, 10, 97, 20, 0.5)), found((3, 10, 18, 20, 0.7))], [LEFT, RIGHT], 0.5, 10)
    assert boxes(merged) == [[83, 10, 98, 20]]


def test_other_classes_and_detections_of_one_tile_do_not_suppress_each_other() -> None:
    one, other = found((82, 10, 97, 20, 0.5)), found((2, 10, 17, 20, 0.7), label=1)
    assert len(merge([one, other], [LEFT, RIGHT], 0.5, 10)) == 2
    assert len(merge([found((82, 10, 97, 20, 0.5), (82, 10, 97, 21, 0.4)), found()], [LEFT, RIGHT], 0.5, 10)) == 2


def test_a_piece_goes_even_if_its_score_is_higher() -> None:
    # an object at 70..130: the left tile shows 70..100, half of it, the right one 80..130 and no more of it
    piece, most = found((70, 10, 100, 20, 0.9)), found((5, 10, 50, 20, 0.6))  # the second, 85..130, ends at no border
    assert boxes(merge([piece, most], [LEFT, RIGHT], 0.4, 10)) == [[85, 10, 130, 20]]
    alone = merge([piece, found()], [LEFT, RIGHT], 0.4, 10)
    assert boxes(alone) == [[70, 10, 100, 20]]


def test_a_box_at_the_side_of_the_image_is_no_piece() -> None:
    whole, lower = found((0, 0, 100, 30, 0.9)), found((0, 0, 60, 30, 0.2))
    assert boxes(merge([found((0, 0, 99, 90, 0.9))], [LEFT], 0.5, 10)) == [[0, 0, 99, 90]]
    assert len(merge([whole, lower], [LEFT, RIGHT], 0.9, 10)) == 2


def test_the_best_are_kept_and_equal_ones_stay_in_order() -> None:
    merged = merge([found((0, 0, 9, 9, 0.5), (20, 0, 29, 9, 0.5)), found((50, 0, 59, 9, 0.5))], [LEFT, RIGHT], 0.5, 2)
    assert boxes(merged) == [[0, 0, 9, 9], [20, 0, 29, 9]]


def test_features_follow_their_detections() -> None:
    def described(one: Detections, value: float) -> Detections:
        return Detections(one.xyxy, one.scores, one.labels, one.probs, np.full((len(one), 64), value, np.float16))

    parts = [described(found((0, 0, 9, 9, 0.2)), 1), described(found((50, 0, 59, 9, 0.5)), 2)]
    merged = merge(parts, [LEFT, RIGHT], 0.5, 9)
    assert merged.features is not None and merged.features[:, 0].tolist() == [2, 1]
    assert merge([found(), found()], [LEFT, RIGHT], 0.5, 9).xyxy.shape == (0, 4)


def test_a_mean_is_of_the_tiles_of_one_image_and_a_single_vector_stays() -> None:
    vectors = np.array([[1, 2], [3, 4], [0.1, 0.2]], np.float32)
    assert mean_vectors(vectors, [2, 1]).tolist() == [[2, 3], vectors[2].tolist()]
    assert mean_vectors(vectors, [1, 1, 1]) is vectors


@pytest.fixture
def tiled(tmp_path: Path) -> tuple[Dataset, Cache]:
    """Images of 180 x 100 and of 90 x 70, one box each."""
    rng = np.random.default_rng(0)
    images, truth = {}, {}
    for i in range(1, 15):
        width, height = (180, 100) if i % 2 else (90, 70)
        Pillow.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{i}.png")
        images[i] = Image(i, f"{i}.png", width, height, "train" if i < 9 else "val")
        truth[i] = Boxes(np.array([[10, 10, 50, 60]], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    dataset = Dataset(("a", "b"), images, truth, tmp_path, TILING)
    image_cache.build(dataset, Resizing("letterbox", 96), tmp_path / "images.npy")
    return dataset, Cache(dataset, tmp_path / "images.npy")


EVALUATION = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=30)
CPU = Device(torch.device("cpu"), bf16=False)


def test_an_image_is_what_its_tiles_are_together(tiled: tuple[Dataset, Cache], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, cache = tiled
    detector = build_detector("tiny_ssd", dataset.classes, cache.size, {}, seed=0)
    whole = run_inference(detector, cache, list(dataset.images), EVALUATION, CPU)
    assert whole.embeddings.ids.tolist() == list(dataset.images)

    cut, parts = tiles.cut(dataset)
    alone = run_inference(detector, Cache(cut, dataset.root / "images.npy"), list(cut.images), EVALUATION, CPU)
    for i, own in parts.items():
        expected = [alone.detections[k] for k in own]
        merged = merge(expected, [cut.images[k] for k in own], 0.5, 30) if len(own) > 1 else expected[0]
        assert np.allclose(whole.detections[i].xyxy, merged.xyxy, atol=1e-3)
        assert whole.detections[i].xyxy.max() <= 180 and len(whole.detections[i]) <= 30
        mean = alone.embeddings.rows(own).mean(axis=0)
        assert np.allclose(whole.embeddings.rows([i])[0], mean, atol=1e-5)
    assert 0 <= evaluate(dataset, whole.detections, dataset.ids("val"), 30)["mAP"] <= 1

    monkeypatch.setattr("mgral.detection.device.BATCH", 3)  # the tiles of an image are in different passes
    monkeypatch.setattr("mgral.detection.device.FULL", 96)
    found: dict[int, Detections] = {}
    measured = image_quality.of_images(cache, list(dataset.images))
    for one in in_parts(detector, cache, list(dataset.images), EVALUATION, CPU, quality=True):
        assert not found or min(one.detections, default=99) > max(found)
        if one.detections:
            at = [list(dataset.images).index(i) for i in one.detections]
            assert one.embeddings.quality is not None and (one.embeddings.quality == measured[at]).all()
        found |= one.detections
    assert list(found) == list(dataset.images)
    assert all(np.allclose(found[i].xyxy, whole.detections[i].xyxy, atol=1e-3) for i in found)


@pytest.mark.slow
def test_training_and_kept_features_are_of_tiles(tiled: tuple[Dataset, Cache]) -> None:
    dataset, cache = tiled
    detector = build_detector("tiny_ssd", dataset.classes, cache.size, {}, seed=0)
    plan = TrainingConfig(3, 4, 1e-3, 0, 0, augment=True)
    rows = fit(detector, cache, [1, 3], plan, CPU, seed=0)

    cut, parts = tiles.cut(dataset)
    twin = build_detector("tiny_ssd", dataset.classes, cache.size, {}, seed=0)
    flat = Cache(cut, dataset.root / "images.npy")
    assert rows == fit(twin, flat, [*parts[1], *parts[3]], plan, CPU, seed=0)

    detector.freeze_backbone()
    kept = feature_cache.make(detector, cache, dataset.ids("val"), CPU)
    path = dataset.root / "features.npy"
    feature_cache.write(detector, cache, dataset.ids("val"), CPU, path)
    read = feature_cache.read(detector, cache.inputs(dataset.ids("val")), path)
    with_kept, from_disk, plain = (
        run_inference(detector, cache, dataset.ids("val"), EVALUATION, CPU, known) for known in (kept, read, None)
    )
    for i in dataset.ids("val"):
        assert np.array_equal(with_kept.detections[i].xyxy, from_disk.detections[i].xyxy)
    assert np.allclose(with_kept.embeddings.vectors, plain.embeddings.vectors, atol=1e-2)
