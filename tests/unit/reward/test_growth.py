"""The numbers of a batch by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import scattered, world

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Detections, Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.reward.growth import COVERED, FEATURES, PLAIN, World, Worlds
from mgral.reward.signals import measure

FAR = 100.0  # between images, in σ: coverage is 1


def raw(pool: World, *batch: int) -> np.ndarray:
    return pool.raw(pool.rows(batch, "batch")[None])[0]


def number(pool: World, name: str, *batch: int) -> list[float]:
    return raw(pool, *batch)[:, FEATURES.index(name)].tolist()


def test_growth_is_the_log_growth_of_labelled_boxes() -> None:
    # Class 0 has 3 labelled boxes, class 1 none: log((3 + 1 + 2 + 2) / 4) and log((0 + 1 + 0.5) / 1).
    pool = world([0, FAR, 2 * FAR], [[2, 0.5], [2, 0], [0, 0]], boxes=np.array([3.0, 0.0]))
    assert number(pool, "growth", 1, 2) == pytest.approx([math.log(2), math.log(1.5)])
    assert number(pool, "growth", 3) == [0, 0]


def test_competent_growth_weighs_classes_by_their_ap() -> None:
    # AP 0.3 and 0.1, mean 0.2: weights 1.5 and 0.5
    pool = world([0], [[1, 1]], competence=np.array([0.3, 0.1]))
    assert number(pool, "competent growth", 1) == pytest.approx([1.5 * math.log(2), 0.5 * math.log(2)])
    blind = replace(pool, competence=np.zeros(2))
    assert number(blind, "competent growth", 1) == pytest.approx([math.log(2), math.log(2)])


def test_of_copies_one_counts() -> None:
    # Images 1 and 2 are copies; of 1 and 3, at distance 1 = σ, the later one counts 1 - 1 / e.
    pool = world([0, 0, 1], [[2], [2], [1]])
    assert number(pool, "growth", 1, 2) == number(pool, "growth", 1)
    assert number(pool, "growth", 1, 3) == pytest.approx([math.log(1 + 2 + (1 - 1 / math.e))])


def test_a_copy_of_a_labelled_image_counts_nothing() -> None:
    pool = world([0, FAR], [[2], [2]], squares=np.array([0.0, 1.0]), labelled=3)
    assert number(pool, "growth", 1) == [0]
    assert number(pool, "growth", 2) == pytest.approx([math.log(1 + 2 * (1 - 1 / math.e))])


def test_at_scale_0_all_but_copies_are_new() -> None:
    pool = world([0, 0, 1e-3], [[2], [2], [1]], scale=0.0)
    assert number(pool, "growth", 1, 2, 3) == pytest.approx([math.log(4)])


def test_shares_of_image_scores() -> None:
    # L = 9, b = 2: log(12 / 10). Scores 1, 2, 3, 6, mean 3; images 2 and 4 have 8 of 2 · 3. Those of COVERED are
    # discounted: image 4 comes after its copy 2, the smaller id, and counts nothing.
    scores = np.array([[1.0], [2], [3], [6]]) * np.ones(len(COVERED + PLAIN))
    pool = world([0, FAR, 2 * FAR, FAR], [[1], [1], [1], [1]], scores=scores, labelled=9)
    for name in PLAIN:
        assert number(pool, name, 2, 4) == pytest.approx([math.log(1.2) * 8 / 6])
    for name in COVERED:
        assert number(pool, name, 2, 4) == pytest.approx([math.log(1.2) * 2 / 6])


def test_a_score_that_is_0_everywhere_adds_nothing() -> None:
    pool = world([0, 1], [[0], [0]], scores=np.zeros((2, len(COVERED + PLAIN))))
    assert raw(pool, 1, 2).tolist() == [[0.0] * len(FEATURES)]


@given(st.integers(0, 10**6))
def test_a_batch_has_the_numbers_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = scattered(seed=3)
    batch = rng.choice(pool.ids, rng.integers(1, 9), replace=False).tolist()
    order = sorted(batch, key=lambda i: (-pool.expected[i - 1].sum(), i))
    added, sums = np.zeros(3), np.zeros(len(COVERED + PLAIN))
    for k, i in enumerate(order):
        others = [((pool.vectors[i - 1].astype(float) - pool.vectors[j - 1]) ** 2).sum() for j in order[:k]]
        covered = 1 - math.exp(-min([pool.squares[i - 1], *others]))
        added += covered * pool.expected[i - 1]
        sums += pool.scores[i - 1] * np.where(np.arange(len(sums)) < len(COVERED), covered, 1)
    growth = np.log((pool.boxes + 1 + added) / (pool.boxes + 1))
    shares = math.log((8 + len(batch)) / 8) * sums / (len(batch) * pool.scores.mean(axis=0))
    wanted = np.column_stack([growth, growth * pool.competence / pool.competence.mean(), np.tile(shares, (3, 1))])
    assert raw(pool, *batch) == pytest.approx(wanted)


def test_numbers_do_not_depend_on_order_or_company() -> None:
    pool = scattered()
    batches = [[4, 9, 1], [2, 3, 5, 7], [8, 30, 12]]
    together = pool.features(batches)
    for batch, found in zip(batches, together, strict=True):
        assert pool.features([batch[::-1]])[0] == pytest.approx(found)


def test_random_batches_have_numbers_near_0() -> None:
    pool = scattered(200)
    rng = np.random.default_rng(1)
    found = pool.features([rng.choice(pool.ids, 10, replace=False).tolist() for _ in range(400)])
    error = found.std(axis=0) * math.sqrt(1 / 400 + 1 / 256)
    assert (np.abs(found.mean(axis=0)) < 4 * error + 1e-12).all()


def test_an_unfit_batch_is_named() -> None:
    pool = world([0, 1], [[1], [1]])
    for batch, said in [([], "batch 0: holds no image"), ([1, 1], "batch 0: holds an image twice")]:
        with pytest.raises(MgralError, match=said):
            pool.features([batch])
    with pytest.raises(MgralError, match="batch 1: image 5 is no candidate"):
        pool.features([[1], [5]])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_world_of_both_families_and_of_images_without_detections(activation: str) -> None:
    # Image 2: one detection of class 0 with score 0.8. Image 3 has none: it adds nothing to any class.
    probs = np.array([[0.1, 0.8, 0.1]] if activation == "softmax" else [[0.8, 0.1]], np.float32)
    one = Detections(np.array([[0, 0, 1, 1]], np.float32), np.array([0.8], np.float32), np.array([0]), probs)
    none = Detections(*(array[:0] for array in (one.xyxy, one.scores, one.labels, one.probs)))
    evidence = Evidence(
        Pool(0, {1: 0}, (2, 3)), ("ant", "bee"), {1: none, 2: one, 3: none}, activation,
        Embeddings(np.arange(1, 4), np.array([[0], [FAR], [2 * FAR]], np.float32)), labels={1: Boxes.empty()},
    )  # fmt: skip
    pool = World.of(measure(evidence, "test"), np.zeros(2), (0.5, 0.0))
    # σ is the distance of the candidates, and so is that of image 2 to the labelled one: coverage 1 - 1 / e
    assert number(pool, "growth", 2) == pytest.approx([math.log(1 + 0.8 * (1 - 1 / math.e)), 0])
    assert number(pool, "growth", 3) == [0, 0]
    assert number(pool, "learnable", 2) == pytest.approx(number(pool, "balanced", 2))  # half of each, and of the mean
    assert pool.state().shape == (2, len(COVERED + PLAIN) + 2)


def test_replay_records_need_their_world() -> None:
    pool = world([0], [[1]])
    assert Worlds(pool, [pool]).of("replay") is pool
    assert Worlds(pool, [pool, other := world([1], [[1]])]).of("replay", 2) is other
    for worlds, split in ((Worlds(pool), 1), (Worlds(pool, [pool]), 2)):
        with pytest.raises(MgralError, match=f"replay records of split {split} by .* give --replay-pool"):
            worlds.of("replay", split)
