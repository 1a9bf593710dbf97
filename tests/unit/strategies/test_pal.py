"""PAL: budgets, ranking and the regression on numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mgral.core.types import Boxes, ImageScores
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies import pal
from mgral.strategies.pal import Options, truth
from mgral.strategies.pal.truth import Counted


def boxes(*labels: int) -> Boxes:
    return Boxes(np.zeros((len(labels), 4), np.float32), np.array(labels, np.int64), np.zeros(len(labels), np.bool_))


def test_rare_classes_get_more_places() -> None:
    # labelled 3 of 4 and 1 of 4; detected 1 of 2 each: r = 1 - (3/4 + 1/2)/2 = 0.375 and 1 - (1/4 + 1/2)/2 = 0.625
    rarity = pal.rarities([boxes(0, 0), boxes(0, 1)], np.array([5.0, 5.0]))
    assert rarity.tolist() == pytest.approx([0.375, 0.625])
    assert pal.budgets(rarity, 8).tolist() == [3, 5]
    assert pal.budgets(rarity, 3).tolist() == [1, 2]  # 1.125 and 1.875: the larger remainder
    assert pal.budgets(np.zeros(1), 4).tolist() == [4]  # one class: r is 0


def counted(scores: list[float], counts: list[int], labels: list[int] | None = None) -> Counted:
    n = len(scores)
    return Counted(np.zeros((n, 4)), np.array(scores), np.array(labels or [0] * n), np.array(counts))


def test_the_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    seen = counted(rng.random(60).tolist(), rng.integers(1, 9, 60).tolist())
    true = rng.random(60) < seen.scores
    model = truth.fit((seen, true), 1, penalty=1.0)
    raw = np.stack([seen.scores, np.log(seen.counts)], axis=1)
    features = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(features, true)
    expected = reference.predict_proba(features)[:, 1]
    assert model.probabilities(seen).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_class_of_one_outcome_takes_the_regression_of_all_and_none_the_score() -> None:
    seen = counted([0.9, 0.2, 0.8, 0.1], [4, 1, 3, 1], [0, 0, 1, 1])
    both = truth.fit((seen, np.array([True, False, True, True])), 2, 1.0)
    whole = truth.fit((counted([0.9, 0.2, 0.8, 0.1], [4, 1, 3, 1]), np.array([True, False, True, True])), 1, 1.0)
    assert both.weights[1].tolist() == whole.weights[0].tolist()
    never = truth.fit((seen, np.zeros(4, np.bool_)), 2, 1.0)
    assert never.probabilities(seen).tolist() == [0.9, 0.2, 0.8, 0.1]
    assert truth.bits(np.array([0.5, 1.0, 0.25])).tolist() == pytest.approx([1, 0, 2 - 0.75 * math.log2(3)])


def test_each_object_makes_one_detection_true() -> None:
    seen = Counted(
        np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 4], [50, 50, 60, 60], [70, 70, 80, 80]]),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5]),
        np.array([0, 0, 1, 0, 0]),
        np.ones(5, np.int64),
    )
    objects = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    kept, true = truth.judged(seen, objects, np.array([0, 1, 0]), np.array([False, False, True]))
    # the first takes the object of class 0; the second finds none left; the third overlaps its own by 0.4; the fourth
    # is on an object to ignore; the fifth on nothing
    assert true.tolist() == [True, False, False, False, False]
    assert kept.tolist() == [True, True, True, False, True]


def given() -> Evidence:
    terms = {
        "uncertainty": np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.3], [0.0, 0.0]]),
        "entropy": np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.3], [0.0, 0.0]]),
        "detections": np.array([[1.0, 0], [1, 0], [1, 1], [0, 0]]),
        "objects": np.array([[0.5, 0.0], [0.6, 0.0], [0.3, 0.4], [0.0, 0.0]]),
    }
    scores = ImageScores(np.arange(1, 5), terms)
    return Evidence(Pool(0, {9: 0}, (1, 2, 3, 4)), ("ant", "bee"), labels={9: boxes(0, 0, 0, 1)}, image_scores=scores)


def test_the_rarest_class_picks_first_and_left_places_go_to_any() -> None:
    # labelled 3/4 and 1/4, detected 3/4 and 1/4: r 0.25 and 0.75, of 2 places 0.5 and 1.5: the tie goes to ant
    picks = pal.select(given(), 2, 0, Options())
    assert {pick.id: pick.reason["class"] for pick in picks} == {3: "bee", 1: "ant"}
    three = next(pick for pick in picks if pick.id == 3)
    # entropy (0.25·0.7 + 0.75·0.3)/(0.25 + 0.75) = 0.4; both classes: 1; the only candidate: 1
    assert three.score == pytest.approx(0.9 * 0.3 + 0.02 * 1 + 0.04 * (0.4 + 1))
    assert three.reason["rarity"] == pytest.approx(0.75)
    everything = pal.select(given(), 4, 0, Options())
    assert everything[-1].id == 4 and everything[-1].reason["class"] == "any"


def test_an_image_like_those_above_it_is_less_new() -> None:
    picks = pal.select(given(), 4, 0, Options())
    novelty = {pick.id: pick.reason["novelty"] for pick in picks}
    assert novelty[1] == 1
    assert sorted(novelty) == [1, 2, 3, 4]
