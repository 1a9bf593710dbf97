"""A frozen backbone: what it says of images is computed once, and a head trains over it as over the images."""

import numpy as np
import pytest
import torch

from mgral.config.schema import Evaluation, Machine, ProxyRun
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.data.augmentation import mirror
from mgral.detection import feature_cache, training
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.training import TrainingConfig
from mgral.reward.semi import isd

SIZE = 64
PLAN = TrainingConfig(steps=4, batch_size=3, learning_rate=0.01, weight_decay=0.0, warmup=1, augment=False)


@pytest.fixture(scope="module")
def machine():
    return prepare_device(Machine(threads=1, precision="fp32", device="cpu"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Four images of noise with a bright square each."""
    folder = tmp_path_factory.mktemp("world")
    pixels = np.random.default_rng(0).integers(0, 100, (4, SIZE, SIZE, 3), dtype=np.uint8)
    boxes = {}
    for k in range(4):
        pixels[k, 10:40, 5 * k : 5 * k + 25] = 230
        square = np.asarray([[5 * k, 10, 5 * k + 25, 40]], np.float32)
        boxes[k + 1] = Boxes(square, np.zeros(1, np.int64), np.zeros(1, bool))
    np.save(folder / "images.npy", pixels)
    pictures = {k: Image(k, f"{k}.png", SIZE, SIZE, "train") for k in range(1, 5)}
    return image_cache.Cache(Dataset(("square",), pictures, boxes, folder), folder / "images.npy")


def frozen():
    detector = build_detector("tiny_ssd", ("square",), SIZE, {}, 0)
    detector.freeze_backbone()
    return detector


def test_only_the_head_learns(cache, machine):
    fresh, detector = frozen(), frozen()
    training.fit(detector, cache, [1, 2, 3, 4], PLAN, machine, 0)
    changed = {
        name
        for (name, before), after in zip(fresh.state_dict().items(), detector.state_dict().values(), strict=True)
        if not torch.equal(before, after)
    }
    assert changed
    assert all(name.startswith("head.") for name in changed)


def test_the_maps_are_those_of_the_image_and_of_its_mirror_image(cache, machine, tmp_path):
    detector = frozen()
    feature_cache.write(detector, cache, [4, 2, 1], machine, tmp_path / "backbone_features.npy")
    kept = feature_cache.read(detector, [1, 2, 4], tmp_path / "backbone_features.npy")
    pixels = machine.images(cache.pixels([4, 1]))
    pixels[1] = pixels[1].flip(2)
    with torch.no_grad():
        wanted = detector.eval().maps(pixels)
    found = kept.maps([4, 1], [False, True], machine)
    assert [m.shape for m in found] == [m.shape for m in wanted]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)  # float16 keeps 11 bits


def test_a_head_trains_over_the_maps_as_over_the_images(cache, machine):
    over_images, over_maps = frozen(), frozen()
    ids = [1, 2, 3, 4]
    rows = training.fit(over_images, cache, ids, PLAN, machine, 0)
    kept = feature_cache.make(over_maps, cache, ids, machine)
    again = training.fit(over_maps, cache, ids, PLAN, machine, 0, backbone_features=kept)
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in rows], rel=2e-3)


def test_boxes_follow_a_mirrored_image():
    boxes = Boxes(np.asarray([[10, 20, 30, 40]], np.float32), np.asarray([2]), np.asarray([True]))
    flipped = mirror(boxes, 100)  # x from 10 … 30 to 100 - 30 … 100 - 10
    assert flipped.xyxy.tolist() == [[70, 20, 90, 40]]
    assert (flipped.labels.tolist(), flipped.ignore.tolist()) == ([2], [True])


def test_half_of_an_augmented_batch_is_mirrored(cache, machine):
    kept = feature_cache.make(frozen(), cache, [1, 2, 3, 4], machine)
    plan = TrainingConfig(**{**PLAN.__dict__, "augment": True, "batch_size": 4})
    plain = 0
    for step in range(8):
        order = training.draw([1, 2, 3, 4], 4, step, 0, "order")
        _, targets = training.batch_of_maps(kept, cache, [1, 2, 3, 4], plan, machine, 0, step)
        for i, target in zip(order, targets, strict=True):
            left = target.xyxy[0, 0].item()
            assert left in (
                5 * i - 5,
                44 - 5 * i,
            )  # image i's square begins at 5(i - 1), mirrored at 64 - 5(i - 1) - 25
            plain += left == 5 * i - 5
    assert 8 <= plain <= 24  # of 32, half of them expected; outside with a chance below 1 %


def test_a_term_runs_through_the_frozen_trunk(cache, machine):
    detector = frozen()
    before = [weight.clone() for weight in detector.trunk.state_dict().values()]
    options = isd.Options(ramp_up=0.0, flip=10.0)
    term = isd.build(options, cache, [3, 4], [1, 2], PLAN, machine, 0)
    kept = feature_cache.make(detector, cache, [1, 2], machine)
    rows = training.fit(detector, cache, [1, 2], PLAN, machine, 0, term, backbone_features=kept)
    assert rows[-1]["isd_flip"] > 0
    assert all(torch.equal(a, b) for a, b in zip(before, detector.trunk.state_dict().values(), strict=True))


def test_activations_of_another_number_of_images_are_refused(cache, machine, tmp_path):
    path = tmp_path / "backbone_features.npy"
    feature_cache.write(frozen(), cache, [1, 2], machine, path)
    with pytest.raises(
        MgralError, match=r"float16 \[2, 2, \d+\], not float16 \[3, 2, \d+\]; run `mgral backbone-features` again"
    ):
        feature_cache.read(frozen(), [1, 2, 3], path)
    with pytest.raises(MgralError, match="no such file; make it with `mgral backbone-features`"):
        feature_cache.read(frozen(), [1, 2], tmp_path / "none.npy")
    path.write_bytes(b"damaged")
    with pytest.raises(MgralError, match="not a NumPy array"):
        feature_cache.read(frozen(), [1, 2], path)


def test_a_trunk_that_has_learnt_nothing_cannot_be_frozen():
    given = {"semi": "isd", "options": {}, "steps": 1, "stop_at": 0, "batch_size": 2, "learning_rate": 0.1}
    with pytest.raises(MgralError, match="set start: detector"):
        ProxyRun.parse({**given, "start": "scratch", "backbone": "frozen"}, "proxy")
    assert ProxyRun.parse({**given, "start": "detector", "backbone": "frozen"}, "proxy").backbone == "frozen"


def test_detections_over_the_maps_are_those_over_the_images(cache, machine):
    from mgral.detection.inference import run_inference

    detector = frozen()
    evaluation = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=5)
    kept = feature_cache.make(detector, cache, [1, 2, 3, 4], machine)
    plain, over = (run_inference(detector, cache, [1, 2, 3, 4], evaluation, machine, known) for known in (None, kept))
    np.testing.assert_allclose(over.embeddings.vectors, plain.embeddings.vectors, rtol=1e-2, atol=1e-2)
    for i in range(1, 5):
        np.testing.assert_allclose(over.detections[i].scores, plain.detections[i].scores, atol=2e-3)
