"""The loop: it learns, it resumes to the same bytes, and a proxy sees no label of its batch."""

from __future__ import annotations

import copy
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from mgral.config.schema import DetectorParams, Evaluation, Machine, ProxyRun
from mgral.core import read_ahead
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image, Record
from mgral.data import image_cache
from mgral.data.pool import Pool
from mgral.detection import average_precision, training
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig
from mgral.reward import proxy
from mgral.reward.semi import isd

pytestmark = pytest.mark.slow

SIZE = 64
PLAN = TrainingConfig(steps=6, batch_size=4, learning_rate=1e-3, weight_decay=0.0, warmup=2, augment=True)


@pytest.fixture
def machine():
    return prepare_device(Machine(threads=1, precision="fp32", device="cpu"))


@pytest.fixture
def world(tmp_path):
    """Ten images of noise, each with one bright square."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 80, (10, SIZE, SIZE, 3), dtype=np.uint8)
    listed, boxes = {}, {}
    for i in range(10):
        x, y = generator.integers(0, SIZE - 24, 2)
        pixels[i, y : y + 24, x : x + 24] = 230
        listed[i + 1] = Image(i + 1, f"{i}.png", SIZE, SIZE, "train")
        boxes[i + 1] = Boxes(np.array([[x, y, x + 24, y + 24]], np.float32), np.array([0]), np.array([False]))
    dataset = Dataset(("square",), listed, boxes, tmp_path)
    np.save(tmp_path / "images.npy", pixels)
    return dataset, image_cache.Cache(dataset, tmp_path / "images.npy")


def detector():
    return build_detector("tiny_ssd", ("square",), SIZE, {}, 0)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_the_loss_falls(world, machine):
    plan = TrainingConfig(steps=40, batch_size=4, learning_rate=3e-3, weight_decay=0.0, warmup=5, augment=False)
    rows = training.fit(detector(), world[1], [1, 2, 3, 4], plan, machine, 0)
    assert rows[-1]["loss"] < 0.4 * rows[0]["loss"]
    assert [row["step"] for row in rows] == list(range(40))


def test_same_seed_same_weights_in_any_order_of_the_pool(world, machine):
    runs = {}
    for name, ids, seed in [("a", [1, 2, 3], 0), ("b", [3, 1, 2], 0), ("c", [1, 2, 3], 1)]:
        runs[name] = detector()
        training.fit(runs[name], world[1], ids, PLAN, machine, seed)
    assert same(runs["a"], runs["b"])
    assert not same(runs["a"], runs["c"])


def test_a_killed_run_resumes_to_the_same_weights(world, machine, tmp_path):
    plan = TrainingConfig(**{**PLAN.__dict__, "checkpoint_every": 2})
    through = detector()
    rows = training.fit(through, world[1], [1, 2, 3], plan, machine, 0)

    class Killed(Exception):
        pass

    def kill_at_5(_, step, *labelled):
        if step == 5:
            raise Killed
        return {}

    checkpoint = tmp_path / "detector.ckpt"
    with pytest.raises(Killed):
        training.fit(detector(), world[1], [1, 2, 3], plan, machine, 0, kill_at_5, checkpoint)
    assert checkpoint.exists()
    seen = []
    resumed = detector()
    again = training.fit(
        resumed, world[1], [1, 2, 3], plan, machine, 0, lambda _, step, *labelled: seen.append(step) or {}, checkpoint
    )
    assert seen == [4, 5]
    ended = detector()
    assert (
        training.fit(ended, world[1], [1, 2, 3], plan, machine, 0, kill_at_5, checkpoint) == rows
    )  # it had its last step
    checkpoint.write_bytes(b"damaged")
    with pytest.raises(MgralError, match=r"detector\.ckpt: damaged checkpoint; remove it"):
        training.fit(detector(), world[1], [1, 2, 3], plan, machine, 0, checkpoint=checkpoint)
    checkpoint.unlink()
    assert same(through, resumed) and same(through, ended)
    assert again == rows


@pytest.mark.parametrize(("every", "steps"), [(2, [2, 4, 5]), (5, [5]), (6, []), (0, [])])
def test_the_last_step_is_saved_where_any_is(every, steps):
    plan = TrainingConfig(5, 4, 1e-3, 0.0, 1, augment=False, checkpoint_every=every)
    assert [step for step in range(1, 6) if training._due(step, plan)] == steps


def test_what_is_added_leaves_the_others_in_their_places(world, machine, monkeypatch):
    """Ids are shuffled by position; those that two trainings share must have the same ones."""
    steps = []

    def drawn(ids, *rest, draw=training.draw):
        steps.append(draw(ids, *rest))
        return steps[-1]

    monkeypatch.setattr(training, "draw", drawn)
    for batch in ([9, 4], [10, 2]):
        training.fit(detector(), world[1], [8, 1, 3, 7], PLAN, machine, 0, added=batch)
    first, second = ([i for step in some for i in step] for some in (steps[:6], steps[6:]))
    replaced = {1: 1, 3: 3, 7: 7, 8: 8, 4: 2, 9: 10}  # both ascending
    assert [replaced[i] for i in first] == second and set(first) == set(replaced)


def test_every_image_once_an_epoch():
    drawn = [i for step in range(5) for i in training.draw([1, 2, 3, 4, 5], 3, step, 0, "order")]
    assert sorted(drawn[:5]) == sorted(drawn[5:10]) == sorted(drawn[10:]) == [1, 2, 3, 4, 5]
    assert drawn[:5] != drawn[5:10]


def test_learning_rate_warms_up_and_decays():
    plan = TrainingConfig(steps=110, batch_size=1, learning_rate=1.0, weight_decay=0.0, warmup=10, augment=False)
    assert training.learning_rate(0, plan) == pytest.approx(0.1)
    assert training.learning_rate(10, plan) == pytest.approx(1.0)
    assert training.learning_rate(60, plan) == pytest.approx(0.01 + 0.99 / 2)  # half of the cosine


def test_no_label_is_no_training(world, machine):
    with pytest.raises(MgralError, match="labelled pool is empty"):
        training.fit(detector(), world[1], [], PLAN, machine, 0)


def test_a_proxy_depends_on_the_batch_and_never_on_its_labels(world, machine):
    dataset, cache = world
    options = isd.Options(ramp_up=0.0, ramp_down=0.0, flip=10.0)
    plan = TrainingConfig(**{**PLAN.__dict__, "steps": 8})

    def trained(batch, options=options):
        fresh = detector()
        training.fit(
            fresh,
            cache,
            [1, 2, 3],
            plan,
            machine,
            0,
            isd.build(options, cache, batch, [1, 2, 3], plan, machine, 0),
        )
        return fresh

    plain = trained([4, 5, 6])
    assert not same(plain, trained([7, 8, 9]))
    for i in (4, 5, 6):
        dataset.boxes[i].xyxy[:] = [[0, 0, 5, 5]]
    assert same(plain, trained([4, 5, 6]))
    control = trained([4, 5, 6], isd.Options(weight=0.0))
    assert not same(plain, control)


def test_a_term_refuses_a_detector_that_it_is_not_for(world, machine, tmp_path):
    """What parameters could not tell, as of an mmdet config, the proxy sees."""
    dataset, cache = world
    params = (
        DetectorParams(name="tiny_ssd", options={}),
        ProxyRun(
            semi="sed",
            options={},
            start="scratch",
            backbone="learns",
            steps=1,
            stop_at=0,
            batch_size=2,
            learning_rate=0.001,
        ),
        Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=10),
    )
    pool = Pool(0, {1: 0}, (4, 5))
    with pytest.raises(MgralError, match="sed is for detectors with sigmoid, not softmax"):
        proxy.ProxyTrainer(dataset, cache, pool, tmp_path / "none", params, machine, 0).train([4, 5], "random")


def test_a_replay_proxy_sees_the_labels_of_its_batch_and_the_others_do_not(world, machine, monkeypatch):
    dataset, cache = world
    pictures = {i: replace(image, split="val" if i > 8 else "train") for i, image in dataset.images.items()}
    dataset = replace(dataset, images=pictures)
    pool = Pool(3, {1: 0, 2: 0, 3: 0}, (4, 5, 6, 7, 8))
    own = {"semi": "isd", "options": {"ramp_up": 0.0}, "start": "scratch", "backbone": "learns"}
    run = ProxyRun(**own, steps=6, stop_at=0, batch_size=4, learning_rate=0.01)
    evaluation = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=10)
    params = (DetectorParams(name="tiny_ssd", options={}), run, evaluation)
    detectors_trained = []

    def watched(network, *rest, fit=proxy.fit, **more):
        detectors_trained.append(network)
        return fit(network, *rest, **more)

    monkeypatch.setattr(proxy, "fit", watched)

    def trained(kind, repeat=0):
        unused = dataset.root / "unused.safetensors"
        record = proxy.ProxyTrainer(dataset, cache, pool, unused, params, machine, 0).train(
            [5, 4], "random", kind, repeat
        )
        assert (record.ids, record.generator, record.kind, record.cycle) == ((4, 5), "random", kind, 3)
        assert 0 <= record.mAP <= 1
        return detectors_trained.pop()

    before = {kind: trained(kind) for kind in ("unlabelled", "replay", "control")}
    assert not same(before["unlabelled"], before["replay"])
    assert not same(before["unlabelled"], before["control"])
    assert not same(before["replay"], trained("replay", repeat=1))
    assert same(before["replay"], trained("replay"))
    for i in (4, 5):
        dataset.boxes[i].xyxy[:] = [[0, 0, 5, 5]]
    assert same(before["unlabelled"], trained("unlabelled"))
    assert same(before["control"], trained("control"))
    assert not same(before["replay"], trained("replay"))


def test_a_proxy_below_all_its_rivals_is_stopped(world, machine, monkeypatch):
    dataset, cache = world
    pictures = {i: replace(image, split="val" if i > 8 else "train") for i, image in dataset.images.items()}
    dataset = replace(dataset, images=pictures)
    pool = Pool(3, {1: 0, 2: 0, 3: 0}, (4, 5, 6, 7, 8))
    run = ProxyRun(
        semi="isd",
        options={},
        start="scratch",
        backbone="learns",
        steps=30,
        stop_at=0.7,
        batch_size=4,
        learning_rate=0.002,
    )
    taken = []

    def watched(*given, fit=proxy.fit, **more):
        taken.append(fit(*given, **more))
        return taken[-1]

    monkeypatch.setattr(proxy, "fit", watched)

    def trained(rivals=(), run=run):
        params = (
            DetectorParams(name="tiny_ssd", options={}),
            run,
            Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=10),
        )
        proxies = proxy.ProxyTrainer(dataset, cache, pool, None, params, machine, 0)
        return proxies.train([4, 5], "class", "replay", rivals=rivals)

    alone = trained()
    assert 0 < alone.partway != alone.mAP and not alone.stopped
    assert trained(run=run.model_copy(update={"stop_at": 0})).mAP == alone.mAP  # to be looked at changes nothing
    whole, unseen = taken
    assert whole == unseen and len(whole) == 30

    def rival(partway, value):
        return Record((6,), "random", value, 1.0, "replay", 3, partway)

    better = alone.partway + 0.1
    last = trained([rival(better, 0.3), rival(better + 0.2, 0.4)])
    assert taken[-1] == whole[:21] and last.stopped and last.partway == alone.partway
    # 0.1 and 0.3 below its rivals partway, so 0.2 below their mean: expected 0.2 below 0.35
    assert last.mAP == pytest.approx(0.15)
    assert trained([rival(better, 0.0), rival(better, 0.01)]).mAP == 0  # and not below
    for others in ([rival(better, 0.9), rival(alone.partway, 0.9)], [rival(0.0, 0.9)]):
        even = trained(others)
        assert (even.mAP, even.partway, even.stopped) == (alone.mAP, alone.partway, False)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_control_learns_nothing_of_the_batch(world, machine, weight):
    """With weight zero no gradient comes from the batch; what it leaves behind is in batch normalisation alone."""
    options = isd.Options(weight=weight, ramp_up=0.0, flip=10.0)
    trained = []
    for batch in ([4, 5, 6], [7, 8, 9]):
        fresh = detector()
        term = isd.build(options, world[1], batch, [1, 2, 3], PLAN, machine, 0)
        training.fit(fresh, world[1], [1, 2, 3], PLAN, machine, 0, term)
        trained.append(fresh)
    pairs = zip(trained[0].named_parameters(), trained[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for (_, a), b in pairs) == (weight == 0)
    assert not same(*trained)


def test_detections_are_in_pixels_of_the_original_image(world, machine, tmp_path):
    """The same pixels, said to have been squashed from 128 × 32: boxes twice as wide and half as high."""
    evaluation = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=5)
    squashed = {i: replace(image, width=2 * SIZE, height=SIZE // 2) for i, image in world[0].images.items()}
    dataset = replace(world[0], images=squashed)
    plain = run_inference(detector(), world[1], [1, 2], evaluation, machine).detections
    found = run_inference(
        detector(), image_cache.Cache(dataset, tmp_path / "images.npy"), [1, 2], evaluation, machine
    ).detections
    for i in (1, 2):
        assert len(plain[i]) == 5
        np.testing.assert_allclose(found[i].xyxy, plain[i].xyxy * [2, 0.5, 2, 0.5], rtol=1e-6)


SMALL = {
    "fasterrcnn": {"backbone": "resnet18", "anchors": [16, 24, 32, 48, 64], "proposals": 50, "regions": 32},
    "fcos": {"backbone": "resnet18"},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_detector_without_priors_learns_to_find_squares(name, tmp_path, machine):
    """From scratch, on the very images; twice, to the same weights."""
    size, side = 80, 30
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 80, (2, size, size, 3), dtype=np.uint8)
    listed, boxes = {}, {}
    for i, (x, y) in enumerate([(6, 8), (42, 42)]):
        pixels[i, y : y + side, x : x + side] = 230
        listed[i + 1] = Image(i + 1, f"{i}.png", size, size, "train")
        boxes[i + 1] = Boxes(np.array([[x, y, x + side, y + side]], np.float32), np.array([0]), np.array([False]))
    np.save(tmp_path / "images.npy", pixels)
    dataset = Dataset(("square",), listed, boxes, tmp_path)
    cache = image_cache.Cache(dataset, tmp_path / "images.npy")
    plan = TrainingConfig(steps=10, batch_size=2, learning_rate=5e-4, weight_decay=0.0, warmup=2, augment=False)
    trained = []
    fresh = build_detector(name, ("square",), size, SMALL[name], 0)
    for steps in (10, 1, 1):
        trained.append(copy.deepcopy(fresh))
        training.fit(trained[-1], cache, [1, 2], replace(plan, steps=steps), machine, 0)
    assert same(trained[1], trained[2])
    evaluation = Evaluation(score_threshold=0.0, nms_iou=0.5, max_detections=10)
    found = run_inference(trained[0], cache, [1, 2], evaluation, machine).detections
    assert average_precision.evaluate(dataset, found, [1, 2], 10)["AP50"] > 0.5


def readers():
    return [thread for thread in threading.enumerate() if thread.name == read_ahead.NAME]


def test_batches_read_ahead_are_those_of_the_map_and_no_thread_is_left(world, machine, monkeypatch):
    trained = {}
    for name in ("ahead", "map"):
        trained[name] = detector()
        if name == "map":
            monkeypatch.delattr(image_cache.os, "preadv")
        rows = training.fit(trained[name], world[1], [1, 2, 3], PLAN, machine, 0)
        assert len(rows) == PLAN.steps and not readers()
    assert same(trained["ahead"], trained["map"])


def test_no_reader_is_left_of_a_training_that_stops_early(world, machine):
    seen = []

    def halt(step):
        seen.append(len(readers()))
        return step == 2

    training.fit(detector(), world[1], [1, 2, 3], PLAN, machine, 0, halt=halt)
    assert seen == [1, 1] and not readers()


def test_a_cache_that_shrinks_while_it_is_read_ends_the_training(world, machine, tmp_path):
    """The reader meets the end of the file; who trains learns of it, in one line."""
    path = tmp_path / "images.npy"

    def halt(step):
        os.truncate(path, path.stat().st_size - 5)
        return False

    plan = replace(PLAN, steps=50)
    with pytest.raises(MgralError, match=r"images\.npy: ends before image 10; run `mgral cache` again"):
        training.fit(detector(), world[1], [7, 8, 9, 10], plan, machine, 0, halt=halt)
    assert not readers()
