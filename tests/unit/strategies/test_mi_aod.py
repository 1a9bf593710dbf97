"""MI-AOD: weights, losses and score on numbers worked out by hand; who learns in which phase."""

from __future__ import annotations

import copy
import csv
import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context
from torch import Tensor, nn

from mgral.config.schema import Evaluation, Machine
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data.image_cache import Cache
from mgral.detection.base import Target, build_detector
from mgral.detection.device import Device, prepare_device
from mgral.detection.priors import PriorOutput
from mgral.detection.training import TrainingConfig
from mgral.strategies.mi_aod import losses, training
from mgral.strategies.mi_aod.losses import Combination
from mgral.strategies.mi_aod.options import Options
from mgral.strategies.mi_aod.training import TwoHeads

SIZE = 96  # RetinaNet takes no less
pytestmark = pytest.mark.usefixtures("small_resnets")
LN2, LN3 = math.log(2), math.log(3)
PLAN = TrainingConfig(
    steps=6, batch_size=4, learning_rate=1e-3, weight_decay=0.01, warmup=2, augment=True, checkpoint_every=2
)
NUMBERS = Options(rounds=1, epochs=1)
PAPER = losses.Combination((3,))  # of three anchors

# three anchors, two classes; differences 0.4 and 0.2, none, 0 and 0.2
P1 = torch.tensor([[[0.9, 0.1], [0.5, 0.5], [0.2, 0.4]]])
P2 = torch.tensor([[[0.5, 0.3], [0.5, 0.5], [0.2, 0.2]]])


def test_discrepancy_of_two_heads() -> None:
    # anchors: (0.16 + 0.04)/2 = 0.1, 0, (0 + 0.04)/2 = 0.02; the two largest: 0.06; all three: 0.04
    mean, peak = losses.discrepancy(P1, P2, top=2)
    assert (mean.item(), peak.item()) == pytest.approx((0.06, 0.1))
    assert losses.discrepancy(P1, P2, top=10000)[0].item() == pytest.approx(0.04)


def test_weights_of_instances() -> None:
    mil = torch.tensor([[[0.0, LN3], [0.0, 0.0]]])  # over classes: 1/4 3/4, and 1/2 1/2
    probs = torch.tensor([[[0.1, 0.8], [0.8 - LN2, 0.0]]], requires_grad=True)  # over anchors: e^0.8 : e^0.8/2 = 2 : 1
    weights = losses.instance_weights(mil, probs)
    # 2/3 · 1/4, 2/3 · 3/4; 1/3 · 1/2 twice
    assert weights[0].tolist() == [pytest.approx([1 / 6, 1 / 2]), pytest.approx([1 / 6, 1 / 6])]
    assert Combination((2,)).image_scores(weights)[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert not weights.requires_grad  # nothing flows into the classifiers


def test_one_class_leaves_the_mil_head_something_to_say() -> None:
    mil = torch.tensor([[[0.0], [LN3]]])  # sigmoids: 1/2, 3/4
    probs = torch.tensor([[[0.8], [0.8 - LN2]]])  # 2/3, 1/3
    weights = losses.instance_weights(mil, probs)
    assert weights.flatten().tolist() == pytest.approx([1 / 3, 1 / 4])
    assert Combination((2,)).image_scores(weights).item() == pytest.approx(7 / 12)


def test_losses_of_the_phases() -> None:
    weights = torch.tensor([[[0.2, 0.1], [0.3, 0.3], [0.0, 0.1]]])
    # |p1 - p2|·w: (0.4·0.2 + 0.2·0.1)/2 = 0.05; 0; (0 + 0.2·0.1)/2 = 0.01
    assert PAPER.disagreement(P1, P2, weights).item() == pytest.approx(0.06)
    # w alone: 0.15 + 0.3 + 0.05 = 0.5, so (1 - |p1 - p2|)·w: 0.5 - 0.06
    assert PAPER.agreement(P1, P2, weights).item() == pytest.approx(0.44)
    # with a second image on which they agree: half of 0.06, and (0.44 + 0.5)/2
    first, second, both = torch.cat([P1, P1]), torch.cat([P2, P1]), torch.cat([weights, weights])
    assert PAPER.disagreement(first, second, both).item() == pytest.approx(0.03)
    assert PAPER.agreement(first, second, both).item() == pytest.approx(0.47)


def test_the_code_takes_a_softmax_per_level_and_sums() -> None:
    code = Combination.of("code", [1, 2])
    mil = torch.zeros(2, 3, 2)  # over classes: 1/2 everywhere
    probs = torch.tensor([[[0.3, 0.1], [0.8, 0.1], [0.8 - LN2, 0.0]]]).expand(2, 3, 2)
    weights = code.instance_weights(mil, probs)
    # the first level has one anchor: 1 · 1/2; the second 2/3 · 1/2 and 1/3 · 1/2
    assert weights[1].tolist() == [pytest.approx([w, w]) for w in (1 / 2, 1 / 3, 1 / 6)]
    assert code.image_scores(weights).flatten().tolist() == pytest.approx([1 / 2] * 4)  # the maximum over levels
    first, second = torch.cat([P1, P1]), torch.cat([P2, P1])
    # image 1: (0.4 + 0.2)/2 · 1/2 + 0 + (0 + 0.2)/2 · 1/6 = 1/6; on image 2 they agree
    assert code.disagreement(first, second, weights).item() == pytest.approx(1 / 6)
    assert code.agreement(first, second, weights).item() == pytest.approx(2 - 1 / 6)  # of 1 in each image


def test_in_the_code_one_unclear_image_silences_its_batch() -> None:
    code = Combination.of("code", [2])
    scores = torch.tensor([[0.8, 0.4], [0.9, 0.9]])
    probs = torch.tensor([[[0.1, 0.2], [0.6, 0.49]], [[0.3, 0.1], [0.2, 0.4]]])
    assert code.pseudo_loss(scores, probs, 0.5).item() == 0
    assert code.pseudo_loss(scores[:1], probs[:1], 0.5).item() == pytest.approx(0.366985, abs=1e-5)


def test_the_mean_of_logits_is_not_that_of_probabilities() -> None:
    net = network("retinanet")
    cells = net.detector.priors.shape[0]
    raw = PriorOutput(torch.full((1, cells, 2), LN3), torch.zeros(1, cells, 4), [])
    seen = training.TwoHeadOutput(raw, torch.full((1, cells, 2), -3 * LN3), torch.zeros(1, cells, 2))
    # sigmoids 3/4 and 1/28: mean 11/28; mean logit -ln 3: 1/4
    assert net.together(seen, PAPER)[0, 0, 0].item() == pytest.approx(11 / 28)
    assert net.together(seen, Combination.of("code", [1]))[0, 0, 0].item() == pytest.approx(1 / 4)


def test_levels_of_a_detector_are_those_of_its_priors() -> None:
    for name in ("tiny_ssd", "retinanet"):
        detector = network(name).detector
        assert sum(detector.level_sizes) == len(detector.priors)
        assert len(detector.level_sizes) == len(detector.shapes)


@pytest.mark.slow
def test_the_log_tells_phases_images_and_gradients(cache: Cache, machine: Device, tmp_path: Path) -> None:
    for variant, seen in (("paper", ["labelled", "both", "both", "labelled"]), ("code", CODE_STEPS)):
        log = tmp_path / f"{variant}.csv"
        given = context(cache, LABELLED, PLAN, machine, tmp_path / f"{variant}.ckpt", UNLABELLED, log)
        training.train(network(), given, 0, NUMBERS.model_copy(update={"variant": variant}))
        with log.open() as file:
            rows = list(csv.DictReader(file))
        assert [row["images"] for row in rows] == seen
        assert [row["phase"] for row in rows][:: len(rows) - 1] == ["labelled", "labelled"]
        assert all(float(row["gradient_norm"]) > 0 for row in rows)
        assert [bool(row["agreement"]) for row in rows] == [
            row["phase"] == "maximise" and row["images"] != "labelled" for row in rows
        ]


CODE_STEPS = ["labelled", "labelled", "unlabelled", "labelled", "unlabelled", "labelled"]


def test_pseudo_labels_come_from_both_classifiers_and_only_from_clear_images() -> None:
    scores = torch.tensor([[0.8, 0.4], [0.9, 0.9]])
    probs = torch.tensor([[[0.1, 0.2], [0.6, 0.49]], [[0.3, 0.1], [0.2, 0.4]]])
    # image 1 shows class 0: -(ln 0.8 + ln 0.6)/2 = (0.223144 + 0.510826)/2 = 0.366985; image 2 shows nothing
    assert PAPER.pseudo_loss(scores, probs, 0.5).item() == pytest.approx(0.366985, abs=1e-5)
    assert PAPER.pseudo_loss(scores, probs, 0.7).item() == 0


def test_labels_of_images() -> None:
    boxes = torch.zeros(3, 4)
    targets = [Target(boxes, torch.tensor([2, 0, 2])), Target(boxes[:0], torch.zeros(0, dtype=torch.int64))]
    assert losses.image_labels(targets, 3).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_schedule() -> None:
    # an epoch of A costs 1, of B and C 2: 3 + 2·(2 + 2 + 3) = 17
    letters = {"labelled": "A", "minimise": "B", "maximise": "C"}
    phases = training.schedule(17, rounds=2, epochs=3)
    assert "".join(letters[phase] for phase, _ in phases) == "AAABCAAABCAAA"
    assert [k for _, k in phases] == [0] * 8 + [1] * 5
    assert len(training.schedule(34, 2, 3)) == 26
    assert len(training.schedule(0.5, 2, 3)) == 13  # at least a step for each
    assert training.schedule(6, rounds=0, epochs=3) == [("labelled", 0)] * 6


@pytest.fixture(scope="module")
def machine() -> Device:
    return prepare_device(Machine(threads=1, precision="fp32", device="cpu"))


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve images of noise, each with a bright square: large ones are of class 0, small ones of class 1."""
    folder = tmp_path_factory.mktemp("squares")
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 80, (12, SIZE, SIZE, 3), dtype=np.uint8)
    listed, boxes = {}, {}
    for i in range(12):
        side = (28, 14)[i % 2]
        x, y = generator.integers(0, SIZE - side, 2)
        pixels[i, y : y + side, x : x + side] = 230
        listed[i + 1] = Image(i + 1, f"{i}.png", SIZE, SIZE, "train")
        xyxy = np.array([[x, y, x + side, y + side]], np.float32)
        boxes[i + 1] = Boxes(xyxy, np.array([i % 2]), np.array([False]))
    np.save(folder / "images.npy", pixels)
    return Dataset(("large", "small"), listed, boxes, folder)


@pytest.fixture(scope="module")
def cache(squares: Dataset) -> Cache:
    return Cache(squares, squares.root / "images.npy")


LABELLED, UNLABELLED = [1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12]


def network(name: str = "tiny_ssd", classes: tuple[str, ...] = ("large", "small"), seed: int = 0) -> TwoHeads:
    return copy.deepcopy(built(name, classes, seed))


@functools.cache
def built(name: str, classes: tuple[str, ...], seed: int) -> TwoHeads:
    """Two networks are drawn for it, and RetinaNet's are large. Shared: look, and change nothing."""
    return training.build(lambda seed: build_detector(name, classes, SIZE, {}, seed), seed)


def train(
    net: TwoHeads, cache: Cache, machine: Device, path: Path, plan: TrainingConfig = PLAN, **changed: float | str
) -> TwoHeads:
    given = context(cache, LABELLED, plan, machine, path / "x.ckpt", UNLABELLED)
    training.train(net, given, 0, NUMBERS.model_copy(update=changed))
    (path / "x.ckpt").unlink(missing_ok=True)
    return net


def moved(net: TwoHeads, step: Callable[[], object]) -> set[str]:
    """Which parts of the network have other weights after a step: f1, f2, MIL and the rest."""
    classifiers = {id(one): "f1" for one in net.detector.classifier().parameters()}
    classifiers |= {id(one): "f2" for one in net.second.parameters()}
    classifiers |= {id(one): "mil" for one in net.mil.parameters()}
    before = {name: one.detach().clone() for name, one in net.named_parameters()}
    step()
    return {
        classifiers.get(id(one), "rest") for name, one in net.named_parameters() if not torch.equal(one, before[name])
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), [("tiny_ssd", "paper"), ("tiny_ssd", "code"), ("retinanet", "paper")])
@pytest.mark.parametrize(
    ("phase", "learn"),
    [
        ("labelled", {"f1", "f2", "mil", "rest"}),
        ("minimise", {"mil", "rest"}),
        ("maximise", {"f1", "f2"}),
    ],
)
def test_who_learns_in_which_phase(
    name: str,
    phase: str,
    learn: set[str],
    variant: str,
    cache: Cache,
    machine: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = network(name)
    monkeypatch.setattr(training, "schedule", lambda *_: [(phase, 0)])
    plan = replace(PLAN, batch_size=2)
    assert moved(net, lambda: train(net, cache, machine, tmp_path, plan, variant=variant)) == learn
    assert all(one.requires_grad for one in net.parameters())


@pytest.mark.slow
def test_one_phase_parts_the_classifiers_and_the_other_brings_them_together(
    cache: Cache, machine: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = TrainingConfig(steps=1, batch_size=4, learning_rate=2e-3, weight_decay=0.0, warmup=2, augment=False)

    monkeypatch.setattr(training, "schedule", lambda *_: [("labelled", 0)] * 20)
    labelled = train(network(), cache, machine, tmp_path, plan)

    def apart(phase: str, weight: float) -> float:
        """Discrepancy after some steps from labels, then some of a phase in which it counts as much as given."""
        net = copy.deepcopy(labelled)
        monkeypatch.setattr(training, "schedule", lambda *_: [(phase, 0)] * 10)
        train(net, cache, machine, tmp_path, plan, weight=weight)
        mean, _ = training.discrepancies(net, cache, UNLABELLED, machine, top=100)
        return float(mean.mean())

    assert apart("maximise", 100.0) > 1.5 * apart("maximise", 1e-6)
    assert apart("minimise", 100.0) < apart("minimise", 1e-6)


def scores(net: TwoHeads, cache: Cache, machine: Device) -> list[float]:
    means: list[float] = training.discrepancies(net, cache, UNLABELLED, machine, 10000)[0].tolist()
    return means


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(
    cache: Cache, machine: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = train(network(), cache, machine, tmp_path)  # 1 + (1 + 1 + 1) epochs of 6/6 = 1 step

    class Killed(Exception):
        pass

    def kill(*_: Tensor) -> Tensor:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Combination, "agreement", kill)  # in the third step
        with pytest.raises(Killed):
            train(network(), cache, machine, tmp_path)
    assert (tmp_path / "x.ckpt").exists()
    resumed = train(network(seed=1), cache, machine, tmp_path)  # the checkpoint decides, not the initial weights
    assert scores(resumed, cache, machine) == scores(through, cache, machine)


@pytest.mark.slow
def test_one_class_is_trained_and_scored(squares: Dataset, machine: Device, tmp_path: Path) -> None:
    boxes = {i: Boxes(one.xyxy, np.zeros(1, np.int64), one.ignore) for i, one in squares.boxes.items()}
    alike = replace(squares, classes=("square",), boxes=boxes)
    cache = Cache(alike, squares.root / "images.npy")
    net = network(classes=("square",))
    train(net, cache, machine, tmp_path)
    found = scores(net, cache, machine)
    assert min(found) > 0 and len(set(found)) == len(UNLABELLED)


@pytest.mark.slow
def test_order_of_the_images_does_not_matter(cache: Cache, machine: Device, tmp_path: Path) -> None:
    plain, shuffled = network(), network()
    train(plain, cache, machine, tmp_path)
    training.train(
        shuffled, context(cache, LABELLED[::-1], PLAN, machine, tmp_path / "x.ckpt", UNLABELLED[::-1]), 0, NUMBERS
    )
    assert scores(plain, cache, machine) == scores(shuffled, cache, machine)


@pytest.mark.slow
def test_with_nothing_unlabelled_all_steps_learn_from_labels(
    cache: Cache, machine: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    of_labels = training.labelled_losses
    monkeypatch.setattr(training, "labelled_losses", lambda *given: found.append(of_labels(*given)) or found[-1])
    net = network()
    alone = context(cache, LABELLED, PLAN, machine, tmp_path / "x.ckpt")
    learn = moved(net, lambda: training.train(net, alone, 0, NUMBERS))
    assert learn == {"f1", "f2", "mil", "rest"}
    assert len(found) == 6  # PLAN.steps; with unlabelled images four, of which two count twice
    assert training.discrepancies(net, cache, [], machine, 100)[0].tolist() == []


def say(classifier: nn.Module, probs: list[float], activation: str) -> None:
    """Let a classifier see these probabilities everywhere: its last layers have no weights, and biases alone."""
    logits = torch.tensor(probs).log() if activation == "softmax" else torch.tensor(probs).logit()
    last = [one for one in classifier.modules() if isinstance(one, nn.Conv2d) and one.out_channels % len(logits) == 0]
    for one in last if activation == "softmax" else last[-1:]:  # an SSD's has one for each map, RetinaNet's one in all
        assert one.bias is not None
        with torch.no_grad():
            one.weight.zero_()
            one.bias.copy_(logits.repeat(one.out_channels // len(logits)))


@pytest.mark.parametrize(
    ("name", "first", "second", "mean"),
    [
        # f1 alone would say class 0 with 0.6. The mean of logits would give class 1 another score: of the softmax
        # √(0.3·0.8) / (√(0.1·0.1) + √(0.6·0.1) + √(0.3·0.8)) = 0.587
        ("tiny_ssd", [0.1, 0.6, 0.3], [0.1, 0.1, 0.8], [0.1, 0.35, 0.55]),
        ("retinanet", [0.6, 0.3], [0.1, 0.8], [0.35, 0.55]),
    ],
)
def test_the_mean_of_both_classifiers_decides(
    name: str, first: list[float], second: list[float], mean: list[float], cache: Cache, machine: Device
) -> None:
    evaluation = Evaluation(score_threshold=0.5, nms_iou=0.5, max_detections=20)
    net = network(name)
    activation = net.detector.activation
    say(net.detector.classifier(), first, activation)
    say(net.second, second, activation)
    found = training.detections(net, cache, [1, 2], evaluation, machine)
    assert sorted(found) == [1, 2]
    with torch.inference_mode():
        raw = net.detector(machine.images(cache.pixels([1, 2])))
    for i, offsets in zip([1, 2], raw.offsets, strict=True):
        one, boxes = found[i], net.detector.decode(offsets).numpy()  # images have the size of the input
        assert len(one) == 20 and set(one.labels.tolist()) == {1}
        assert one.scores == pytest.approx(0.55)
        assert one.probs == pytest.approx(np.tile(mean, (20, 1)))
        assert np.abs(one.xyxy[:, None] - boxes).max(2).min(1) == pytest.approx(0, abs=1e-3)  # of the one box head


def test_what_cannot_be_trained_is_refused(cache: Cache, machine: Device, tmp_path: Path) -> None:
    with pytest.raises(MgralError, match="labelled pool is empty"):
        training.train(network(), context(cache, [], PLAN, machine, tmp_path / "x.ckpt", UNLABELLED), 0, NUMBERS)
    with pytest.raises(MgralError, match="needs two that differ"):
        training.build(lambda _: build_detector("tiny_ssd", ("a",), SIZE, {}, 0), 0)
