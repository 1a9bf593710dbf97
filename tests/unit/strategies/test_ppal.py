"""PPAL: class difficulty, its weight, matching between images, medoids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contexts import context

from mgral.core.errors import MgralError
from mgral.core.types import Detections, ImageScores
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies import ppal
from mgral.strategies._features import mean_feature
from mgral.strategies.ppal import Options
from mgral.strategies.ppal.medoids import k_center, k_medoids, plus_plus

LOG2, LOG3 = math.log(2), math.log(3)
HALF, QUARTER = LOG2, 2 * LOG2 - 0.75 * LOG3  # entropy of a score of 1/2, and of 1/4 or 3/4
EAST, NORTH, WEST, NORTH_EAST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.6, 0.8)  # 0.6 to EAST, 0.8 to NORTH

Object = tuple[int, float, tuple[float, float]]  # class, score, feature


def seen(*objects: Object) -> Detections:
    n = len(objects)
    return Detections(
        np.tile(np.array([10, 10, 30, 30], np.float32), (n, 1)),
        np.array([score for _, score, _ in objects], np.float32),
        np.array([label for label, _, _ in objects], np.int64),
        np.zeros((n, 4), np.float32),
        np.array([feature for _, _, feature in objects], np.float16).reshape(-1, 2),
    )


def evidence(images: Sequence[Detections], difficulty: Sequence[float]) -> Evidence:
    """Images 1, 2, …, all unlabelled; the same difficulties in each."""
    ids = np.arange(1, len(images) + 1)
    return Evidence(
        Pool(0, {100: 0}, tuple(ids.tolist())),
        tuple("abc"[: len(difficulty)]),
        dict(zip(ids.tolist(), images, strict=True)),
        "sigmoid",
        image_scores=ImageScores(ids, {"difficulty": np.tile(np.array(difficulty, np.float64), (len(ids), 1))}),
    )


def test_weights_of_given_difficulties() -> None:
    # α = 0.3, β = 0.2: b = e^(1/0.3) - 1 = 28.0316 - 1 = 27.0316
    # d = 0: 1 + 0.06 ln 1 = 1;  d = 1: 1 + 0.06 ln(e^(1/0.3)) = 1 + 0.06/0.3 = 1.2
    # d = 1/2: 1 + 0.06 ln(14.5158) = 1 + 0.06 · 2.675237 = 1.160514
    weights = ppal.class_weights(np.array([0.0, 1.0, 0.5]), Options())
    assert weights == pytest.approx([1.0, 1.2, 1.160514], abs=1e-6)


def test_uncertainty_is_entropy_times_weight() -> None:
    # class 0: ln 2 · 1 + H(1/4) · 1; class 1: ln 2 · 1.2
    found = seen((0, 0.5, EAST), (1, 0.5, EAST), (0, 0.25, EAST))
    shares = ppal.class_shares(found, np.array([1.0, 1.2, 1.1]))
    assert shares == pytest.approx([HALF + QUARTER, 1.2 * HALF, 0.0])
    assert ppal.class_shares(seen(), np.ones(3)).tolist() == [0.0, 0.0, 0.0]


def test_distance_of_two_images() -> None:
    a = seen((0, 0.75, EAST), (1, 0.25, EAST))
    b = seen((0, 0.5, NORTH_EAST), (0, 0.5, WEST))
    # from a: class 0 finds 0.6 (and -1), distance 0.4; class 1 finds nothing, 2: (0.75·0.4 + 0.25·2)/1 = 0.8
    # from b: 0.6 and -1 to the one of class 0, distances 0.4 and 2: (0.5·0.4 + 0.5·2)/1 = 1.2. Mean 1.0
    # to an empty image 2, between empty ones 0
    distances = ppal.image_distances([a, b, seen(), seen()])
    expected = [[0, 1, 2, 2], [1, 0, 2, 2], [2, 2, 0, 0], [2, 2, 0, 0]]
    assert distances == pytest.approx(np.array(expected), abs=2e-3)  # features come in half precision
    assert np.array_equal(distances, distances.T)


def test_distances_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = [
        seen(*((int(rng.integers(3)), float(rng.random()), tuple(rng.normal(size=2))) for _ in range(count)))
        for count in (4, 0, 7, 1, 3)
    ]
    whole = ppal.image_distances(images)
    monkeypatch.setattr(ppal, "BLOCK", 1)  # a row at a time, so images are cut apart
    assert ppal.image_distances(images) == pytest.approx(whole, abs=2e-6)


def line(*points: float) -> np.ndarray:
    at = np.array(points, np.float32)
    return np.abs(at[:, None] - at[None, :])


def test_medoids_on_a_line() -> None:
    # 0 1 2 | 10 11 12 from 0 and 1: first all from 1 on go to 1 (a tie at none); the medoid of {1, 2, 10, 11, 12} is 10
    # (9+8+0+1+2 = 20; 11 has 10+9+1+0+1 = 21). Then {0, 1, 2} and {10, 11, 12}: 1 and 11, rows 1 and 4
    distances = line(0, 1, 2, 10, 11, 12)
    medoids, clusters = k_medoids(distances, np.array([1, 0]))
    assert medoids.tolist() == [1, 4]
    assert clusters.tolist() == [0, 0, 0, 1, 1, 1]


def test_medoids_of_copies_stay_apart() -> None:
    medoids, clusters = k_medoids(line(5, 5, 5, 5), np.array([3, 1]))
    assert len(set(medoids.tolist())) == 2
    assert np.bincount(clusters).min() >= 1


@pytest.mark.parametrize("start", [plus_plus, k_center])
def test_starts_spread_out(start) -> None:  # type: ignore[no-untyped-def]
    # two heaps, far apart: the second centre is in the other heap (by chance too: 1e-10 against)
    distances = line(0, 0, 0, 1e5, 1e5, 1e5)
    for seed in range(5):
        rows = start(distances, 2, seed)
        assert {row // 3 for row in rows.tolist()} == {0, 1}
        assert start(distances, 2, seed).tolist() == rows.tolist()
    # all places lie on what was drawn: the smallest rows that are left
    assert sorted(start(distances, 6, 0).tolist()) == [0, 1, 2, 3, 4, 5]
    drawn = start(line(7, 7, 7), 3, 1).tolist()
    assert drawn[1:] == sorted(drawn[1:])


def test_k_center_takes_the_farthest() -> None:
    # wherever it starts on 0 1 2 10, the next is an end; from 0: 10 then, of 1 and 2, the 2 (min(2, 8) = 2)
    seed = next(s for s in range(50) if k_center(line(0, 1, 2, 10), 1, s)[0] == 0)
    assert k_center(line(0, 1, 2, 10), 3, seed).tolist() == [0, 3, 2]


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_candidates_then_medoids(variant: str) -> None:
    # Two places, so eight candidates: images 1 … 8 at ln 2 or more, 9 has less. Of these 1 … 4 show an a and 5 … 8 a b,
    # which weighs 1.2. One is taken of each; 8 has two detections and is the most uncertain.
    images = [seen((0, 0.5, EAST)) for _ in range(4)] + [seen((1, 0.5, NORTH)) for _ in range(4)]
    images[7] = seen((1, 0.5, NORTH), (0, 0.5, NORTH))
    images.append(seen((0, 0.25, WEST)))
    given = evidence(images, [0.0, 1.0])
    picks = ppal.select(given, 2, 0, Options(variant=variant))
    assert len(picks) == 2
    assert sorted((pick.id - 1) // 4 for pick in picks) == [0, 1]
    first = next(pick for pick in picks if pick.id <= 4)
    assert first.id == 1  # copies: the smallest id
    assert first.reason == {
        "uncertainty": pytest.approx(HALF),
        "rank": 5,  # after images 5 to 8
        "detections": 1,
        "hardest_class": "a",
        "difficulty": 0.0,
        "stands_for": 4,
    }


def test_difficult_classes_come_first() -> None:
    # equal entropies; the weight of difficulty 1 is 1.2
    given = evidence([seen((0, 0.5, EAST)), seen((1, 0.5, EAST)), seen((1, 0.04, EAST))], [0.0, 1.0])
    picks = ppal.select(given, 3, 0, Options())
    assert [(pick.id, pick.score) for pick in picks] == [
        (2, pytest.approx(1.2 * HALF)),
        (1, pytest.approx(HALF)),
        (3, 0),
    ]
    assert picks[2].reason["hardest_class"] == "none"  # 0.04 is below 0.05


def test_what_is_missing_is_named() -> None:
    given = evidence([seen((0, 0.5, EAST))], [0.0])
    with pytest.raises(MgralError, match="needs detections"):
        ppal.select(Evidence(given.pool, given.classes, image_scores=given.image_scores), 1, 0, Options())
    with pytest.raises(MgralError, match="needs its image scores"):
        ppal.select(Evidence(given.pool, given.classes, given.detections), 1, 0, Options())


def test_difficulty_after_two_updates() -> None:
    from mgral.strategies.ppal.difficulty import ClassDifficulty

    average = ClassDifficulty(3, 0.9, forgets=False)
    average.update(torch.tensor([0, 0, 1]), torch.tensor([0.5, 1.0, 0.2]))
    # class 0: 0.9·1 + 0.1·(1 - 0.75) = 0.925; class 1: 0.9 + 0.1·0.8 = 0.98; class 2 was absent: 1
    assert average.values.tolist() == pytest.approx([0.925, 0.98, 1.0])
    average.update(torch.tensor([0, 2]), torch.tensor([0.75, 0.5]))
    # class 0: 0.9·0.925 + 0.1·0.25 = 0.8575; 1 is absent; 2 returns with 0.9² = 0.81: 0.81 + 0.19·0.5 = 0.905
    assert average.values.tolist() == pytest.approx([0.8575, 0.98, 0.905])
    assert average.momentum.tolist() == pytest.approx([0.9, 0.81, 0.9])


def test_the_code_lets_absent_classes_drift() -> None:
    from mgral.strategies.ppal.difficulty import ClassDifficulty

    average = ClassDifficulty(1, 0.9, forgets=True)
    average.update(torch.tensor([0]), torch.tensor([1.0]))  # quality 0.1
    average.update(torch.tensor([], dtype=torch.int64), torch.tensor([]))  # 0.9 · 0.1 = 0.09
    assert average.values.tolist() == pytest.approx([0.91])


def test_quality_of_a_perfect_and_of_a_shifted_box() -> None:
    from mgral.detection.base import Target, build_detector
    from mgral.detection.priors import PriorOutput
    from mgral.strategies.ppal.difficulty import qualities

    detector = build_detector("tiny_ssd", ("a", "b"), 64, {}, 0)
    prior = int((detector.priors[:, 2] - detector.priors[:, 0]).argmax())
    x1, y1, x2, y2 = (side.item() for side in detector.priors[prior].clamp(0, 64))
    wanted = torch.tensor([[x1, y1, x2, y2]])
    target = Target(wanted, torch.tensor([1]))
    logits = torch.zeros(1, len(detector.priors), 3)
    logits[..., 2] = math.log(2)  # background : a : b = 1 : 1 : 2, so b has 1/2
    offsets = detector.coder.encode_single(wanted.expand(len(detector.priors), 4), detector.priors)[None]
    labels, found = qualities(detector, PriorOutput(logits, offsets, []), [target], 0.6)
    # every positive prior decodes to the very box, IoU 1: 0.5^0.6 = 0.659754
    assert len(labels) >= 1 and set(labels.tolist()) == {1}
    assert found.tolist() == pytest.approx([0.659754] * len(found), abs=1e-3)
    half = torch.tensor([[x1, y1, (x1 + x2) / 2, y2]])  # the left half of it, IoU 1/2
    offsets = detector.coder.encode_single(half.expand(len(detector.priors), 4), detector.priors)[None]
    _, found = qualities(detector, PriorOutput(logits, offsets, []), [target], 0.6)
    assert found.tolist() == pytest.approx([0.5] * len(found), abs=2e-3)  # 0.5^0.6 · 0.5^0.4
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    labels, found = qualities(detector, PriorOutput(logits, offsets, []), [none], 0.6)
    assert labels.tolist() == [] and found.tolist() == []


@pytest.mark.slow
def test_difficulty_falls_for_what_is_learnt_and_survives_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mgral.config.schema import Machine
    from mgral.core.types import Boxes, Dataset, Image
    from mgral.data.image_cache import Cache
    from mgral.detection.base import build_detector
    from mgral.detection.device import prepare_device
    from mgral.detection.training import TrainingConfig
    from mgral.strategies.ppal import difficulty as training

    # four images with a large bright square each; the second class has no object
    pixels = np.random.default_rng(0).integers(0, 80, (4, 64, 64, 3), dtype=np.uint8)
    pixels[:, 16:48, 16:48] = 230
    listed = {i: Image(i, f"{i}.png", 64, 64, "train") for i in range(1, 5)}
    box = Boxes(np.array([[16, 16, 48, 48]], np.float32), np.array([0]), np.array([False]))
    np.save(tmp_path / "images.npy", pixels)
    cache = Cache(Dataset(("square", "none"), listed, dict.fromkeys(listed, box), tmp_path), tmp_path / "images.npy")
    plan = TrainingConfig(12, 4, learning_rate=3e-3, weight_decay=0.0, warmup=2, augment=False, checkpoint_every=4)
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))

    def measure() -> np.ndarray:
        detector = build_detector("tiny_ssd", ("square", "none"), 64, {}, 0)
        checkpoint = tmp_path / "x.ckpt"
        average = training.ClassDifficulty(2, momentum=0.8, forgets=False)
        given = context(cache, [1, 2, 3, 4], plan, machine, checkpoint)
        found = training.measure(detector, average, given, 0, exponent=0.6)
        assert set(detector.state_dict()) == set(build_detector("tiny_ssd", ("a", "b"), 64, {}, 0).state_dict())
        checkpoint.unlink()
        return found

    through = measure()
    assert 0 < through[0] < 0.6  # as a mean of 1 - quality over about the last 1 / (1 - 0.8) = 5 steps
    assert through[1] == 1

    class Killed(Exception):
        pass

    calls = iter(range(100))
    qualities = training.qualities

    def kill(*given):  # type: ignore[no-untyped-def]
        if next(calls) == 10:
            raise Killed
        return qualities(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training, "qualities", kill)
        with pytest.raises(Killed):
            measure()
    assert (tmp_path / "x.ckpt").exists()
    assert measure().tolist() == through.tolist()


def test_the_code_takes_detections_of_equal_rank_for_equal() -> None:
    a, b = seen((0, 0.75, EAST), (1, 0.25, EAST)), seen((0, 0.5, NORTH), (0, 0.5, EAST))
    # paper: a's first finds EAST, 0; its second no bee, 2: 0.25·2 = 0.5. b: NORTH 1, EAST 0: 0.5. Mean 0.5
    assert ppal.image_distances([a, b])[0, 1] == pytest.approx(0.5)
    # code: b's first is at rank 0 as a's first, so at 0; 0.25·2 = 0.5 from a, 0 from b. Mean 0.25
    assert ppal.image_distances([a, b], equal_ranks=True)[0, 1] == pytest.approx(0.25)
    # of another class the rank says nothing: 2 both ways
    assert ppal.image_distances([seen((0, 0.5, EAST)), seen((1, 0.5, EAST))], equal_ranks=True)[0, 1] == 2


def test_the_code_counts_large_boxes_of_moderate_shape() -> None:
    corners = [[0, 0, 16, 16], [0, 0, 17, 16], [0, 0, 100, 21], [0, 0, 100, 19], [0, 0, 19, 100]]
    # 16.0 is not above 16; 16.5 is; 100/21 = 4.8; 100/19 = 5.3 both ways
    five = seen(*[(0, 0.5, EAST)] * 5)
    boxed = replace(five, xyxy=np.array(corners, np.float32))
    assert ppal.class_shares(boxed, np.ones(2), "code").tolist() == [pytest.approx(2 * HALF), 0]
    assert ppal.class_shares(boxed, np.ones(2)).tolist() == [pytest.approx(5 * HALF), 0]


def test_centred_features_set_images_apart() -> None:
    # (1, 0) and (0.8, 0.6): cosine 0.8, so at 0.2; less their mean they are opposite
    a, b = seen((0, 0.5, EAST)), seen((0, 0.5, (0.8, 0.6)))
    mean = mean_feature({1: a, 2: b}, [1, 2], 0.05)
    assert ppal.image_distances([a, b])[0, 1] == pytest.approx(0.2, abs=1e-3)
    assert ppal.image_distances([a, b], mean)[0, 1] == pytest.approx(2.0, abs=1e-3)
