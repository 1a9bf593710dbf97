"""Confusion mixtures, their divergence, and what k-center and the policy make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from mgral.core.errors import MgralError
from mgral.core.types import Detections
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.cdal import Mixtures, Options, divergence, mixtures, select
from mgral.strategies.cdal.policy import nearest_squares, reward, train

LOG2, LOG3 = math.log(2), math.log(3)


def detected(rows: Sequence[tuple[int, Sequence[float]]], width: int) -> Detections:
    """Detections of a label each, with their probabilities; all of score 0.5."""
    probs = np.array([row for _, row in rows], np.float32).reshape(-1, width)
    labels = np.array([label for label, _ in rows], np.int64)
    return Detections(np.zeros((len(rows), 4), np.float32), np.full(len(rows), 0.5, np.float32), labels, probs)


def one_class(places: Mapping[int, float | None], labelled: Sequence[int]) -> Evidence:
    """One class, one detection of probability p in each image, or none."""
    detections = {i: detected([] if p is None else [(0, (1 - p, p))], 2) for i, p in places.items()}
    pool = Pool(0, dict.fromkeys(labelled, 0), tuple(i for i in sorted(places) if i not in labelled))
    return Evidence(pool, ("ant",), detections, "softmax")


def test_symmetric_divergence_of_two_mixtures() -> None:
    # a = (1/2, 1/2), b = (1/4, 3/4): ½ [(1/4) log 2 - (1/4) log(2/3)] = 1/8 log 3; with itself 0
    a, b = np.array([0.5, 0.5], np.float32), np.array([0.25, 0.75], np.float32)
    both = np.stack([b, a])
    assert divergence(both, np.log(both), a, np.log(a)) == pytest.approx([LOG3 / 8, 0])
    assert divergence(both, np.log(both), a, np.log(a))[1] == 0.0


def test_a_mixture_is_weighted_by_entropy() -> None:
    # (1/2, 1/2, 0): H = log 2. (1/4, 1/4, 1/2): H = 1/4 · 2 log 2 · 2 + 1/2 log 2 = 3/2 log 2.
    # ((1/2, 1/2, 0) + 3/2 (1/4, 1/4, 1/2)) / (5/2) = (7/8, 7/8, 3/4) / (5/2) = (0.35, 0.35, 0.3).
    image = detected([(0, (0.5, 0.5, 0)), (0, (0.25, 0.25, 0.5)), (1, (0, 0, 1)), (1, (0, 0, 1))], 3)
    by_class = mixtures(image, "softmax", Options())
    assert by_class[0] == pytest.approx([0.35, 0.35, 0.3])
    assert by_class[1] == pytest.approx([0, 0, 1])  # no entropy at all: the plain mean
    # over all detections the sure ones weigh nothing
    assert mixtures(image, "softmax", Options(variant="code"))[0] == pytest.approx([0.35, 0.35, 0.3])
    assert mixtures(image, "softmax", Options(min_score=0.6)) == {}


@pytest.mark.parametrize(
    ("probs", "expected"),
    [
        ((0.5, 0.25), (0.4, 0.4, 0.2)),  # background 1 - 0.5; (0.5, 0.5, 0.25) / 1.25
        ((0.75,), (0.25, 0.75)),  # one class: Bernoulli
    ],
)
def test_sigmoid_probabilities_become_a_distribution(probs: Sequence[float], expected: Sequence[float]) -> None:
    assert mixtures(detected([(0, probs)], len(probs)), "sigmoid", Options())[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("variant", "to_nothing", "between"),
    [
        # m = (1/2, 1/4, 1/4) against uniform: ½ [(1/6) log(3/2) - 2 (1/12) log(3/4)] = 1/12 log 2.
        # Image 2 shows m for both classes: 2/12 log 2. Image 1 shows m' = (1/4, 1/2, 1/4) for class 0:
        # to image 2 ½ [(1/4) log 2 + (1/4) log 2] = 1/4 log 2; class 1, unknown in 1: 1/12 log 2; together 1/3 log 2.
        ("paper", [LOG2 / 12, LOG2 / 6], LOG2 / 3),
        # one mixture each: m' and m
        ("code", [LOG2 / 12, LOG2 / 12], LOG2 / 4),
    ],
)
def test_distance_of_two_images(variant: str, to_nothing: list[float], between: float) -> None:
    m = (0.5, 0.25, 0.25)
    images = {1: detected([(0, (0.25, 0.5, 0.25))], 3), 2: detected([(0, m), (1, m)], 3), 3: detected([], 3)}
    found = Mixtures.of([1, 2, 3], images, "softmax", 2, Options.parse({"variant": variant}, ""))
    assert found.unknown() == pytest.approx([*to_nothing, 0], abs=1e-5)
    for row, expected in enumerate([[0, between], [between, 0]]):
        assert found.distances(found, row)[:2] == pytest.approx(expected, abs=1e-5)
    assert found.distances(found, 2) == pytest.approx(found.unknown())
    assert found.dense().shape == (3, {"paper": 6, "code": 3}[variant])


def test_k_center_under_the_divergence() -> None:
    # one class: J(p, q) = ½ (p - q)(logit p - logit q); logits of 1/4, 1/2, 3/4, 9/10: -1, 0, 1, 2 times log 3.
    # From the labelled 3/4, in units of log 3: 2 (1/2): 1/8; 3 (9/10): ½ · 0.15 = 0.075; 4 (1/4): ½ · ½ · 2 = 1/2;
    # 5 (nothing, as good as 1/2): 1/8. So 4; from it 1/2 is ½ · ¼ = 1/8 away, as before, and 9/10 ½ · 0.65 · 3.
    # So 2, of 2 and 5; then 3 at 0.075 and 5, a copy of 2, at 0.
    picks = select(one_class({1: 0.75, 2: 0.5, 3: 0.9, 4: 0.25, 5: None}, labelled=[1]), 9, 0, Options())
    assert [pick.id for pick in picks] == [4, 2, 3, 5]
    assert [pick.score for pick in picks] == pytest.approx([LOG3 / 2, LOG3 / 8, 0.075 * LOG3, 0], abs=1e-5)
    assert [pick.reason["nearest"] for pick in picks] == [1, 1, 1, 2]
    assert [pick.reason["mixtures"] for pick in picks] == [1, 1, 1, 0]


def test_cold_start_is_farthest_from_an_image_without_detections() -> None:
    # to 1/2: 2 (9/10): ½ · 0.4 · 2 = 0.4; 3 (3/4): 1/8. Then 3: min(1/8, 0.075).
    picks = select(one_class({1: None, 2: 0.9, 3: 0.75}, labelled=[]), 2, 0, Options())
    assert [(pick.id, pick.reason["nearest"]) for pick in picks] == [(2, "an empty image"), (3, 2)]
    assert [pick.score for pick in picks] == pytest.approx([0.4 * LOG3, 0.075 * LOG3], abs=1e-5)


def test_reward_of_a_batch() -> None:
    # a = (1/2, 1/2), b = (1/4, 3/4), c = (3/4, 1/4); a and b picked. Of four ordered pairs two differ: mean
    # 2 · (1/8 log 3) / 4 = 1/16 log 3. Nearest to c is a: 2 (1/4)² = 1/8; mean over three 1/24.
    pool = np.array([(0.5, 0.5), (0.25, 0.75), (0.75, 0.25)], np.float32)
    assert nearest_squares(pool, pool[:2]) == pytest.approx([0, 0, 1 / 8])
    expected = 1.5 * LOG3 / 16 + 0.5 * math.exp(-1 / 24 / 50)
    assert reward(pool, np.array([0, 1])) == pytest.approx(expected)
    assert reward(pool, np.array([2])) == pytest.approx(0.5 * math.exp(-(1 / 8 + 1 / 2) / 3 / 50))
    assert reward(pool, np.array([], np.int64)) == 0.0


def test_reward_without_a_matrix_of_pairs_is_that_of_all_pairs() -> None:
    pool = np.random.default_rng(0).dirichlet(np.ones(4), 30).astype(np.float32) + np.float32(1e-3)
    picked = np.arange(0, 30, 2)
    pairs = [divergence(pool[picked], np.log(pool[picked]), pool[i], np.log(pool[i])).mean() for i in picked]
    nearest = ((pool[:, None] - pool[picked]) ** 2).sum(axis=2).min(axis=1)
    expected = 1.5 * np.mean(pairs) + 0.5 * np.exp(-nearest.mean() / 50)
    assert reward(pool, picked) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_learns_to_leave_out_what_adds_no_diversity(seed: int) -> None:
    # 30 images confused in nothing but background, 10 each sure of one of two classes: the reward is largest
    # without the first, whose mixture lies between the others
    middle, left, right = (0.34, 0.33, 0.33), (0.01, 0.98, 0.01), (0.01, 0.01, 0.98)
    kinds = np.array([0] * 30 + [1] * 10 + [2] * 10)
    pool = np.array([middle, left, right], np.float32)[kinds]
    logits = train(pool, 10, seed, epochs=150, hidden=16)
    left_out, taken = logits[kinds == 0].mean(), [logits[kinds == kind].mean() for kind in (1, 2)]
    assert left_out < -1 and min(taken) > left_out + 1


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_the_policy_depends_on_the_seed_alone(variant: str) -> None:
    options = Options.parse({"variant": variant, "solver": "rl", "epochs": 2, "hidden": 8}, "")
    given = one_class({i: i / 40 for i in range(1, 30)}, labelled=[3])
    state = torch.random.get_rng_state()
    first = select(given, 5, 1, options)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(7)
    assert select(given, 5, 1, options) == first
    assert select(given, 5, 2, options) != first
    for pick in first:
        assert pick.reason["probability"] == pytest.approx(1 / (1 + math.exp(-pick.score)))


def test_faulty_detections_are_named() -> None:
    given = one_class({1: 0.5, 2: float("nan")}, labelled=[])
    with pytest.raises(MgralError, match=r"^image 2 has class probabilities that are not finite"):
        select(given, 1, 0, Options())
    with pytest.raises(MgralError, match=r"^image 3 has no detections entry"):
        select(replace(given, pool=Pool(0, {}, (1, 3))), 1, 0, Options())
    with pytest.raises(MgralError, match="cdal: needs detections"):
        select(replace(given, detections=None), 1, 0, Options())
