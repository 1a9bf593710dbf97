"""The agent's batch or the rule's: certainty by hand, and the batch of a rule where coverage decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from worlds import scattered, weights, world

from mgral.reward.batch_price import BatchPrice
from mgral.reward.growth import COVERED, FEATURES, PLAIN
from mgral.reward.safe_choice import CertainGain, certainty, choose, rule_batch


def test_certainty_is_that_of_the_normal_distribution() -> None:
    pool = scattered()
    found = weights(3, growth=0.1, learnable=0.2)
    one, two = [1, 2, 3], [4, 5, 6]
    numbers = np.subtract(*pool.features([one, two]).mean(axis=1))
    wanted = norm.cdf(numbers @ found.mean / (0.1 * np.linalg.norm(numbers)))
    assert certainty(pool, found, one, two) == pytest.approx(wanted)
    assert certainty(pool, found, two, one) == pytest.approx(1 - wanted)
    assert certainty(pool, found, one, one) == 0.5


def test_certain_weights_leave_no_doubt() -> None:
    pool = world([0, 100], [[1], [2]])
    sure = replace(weights(1, growth=1.0), covariance=np.zeros((len(FEATURES), len(FEATURES))))
    assert (certainty(pool, sure, [2], [1]), certainty(pool, sure, [1], [2])) == (1.0, 0.0)


def test_a_rule_counts_copies_once_and_equal_images_by_id() -> None:
    # 1 and 2 are copies; images 3 and 4 have less, and the same
    scores = np.ones((4, len(COVERED + PLAIN)))
    scores[:, COVERED.index("balanced")] = [2, 2, 1, 1]
    pool = world([0, 0, 100, 200], [[1]] * 4, scores=scores)
    assert rule_batch(pool, "balanced", 1) == [1]
    assert rule_batch(pool, "balanced", 2) == [1, 3]
    assert rule_batch(pool, "balanced", 9) == [1, 2, 3, 4]


def test_the_rule_stays_until_the_price_is_certain_enough() -> None:
    scores = np.ones((3, len(COVERED + PLAIN)))
    scores[:, COVERED.index("learnable")] = [3, 2, 1]
    pool = world([0, 100, 200], [[1], [1], [50]], scores=scores)
    price = BatchPrice(pool, replace(weights(1, growth=1.0), rule="learnable"))
    kept, left = choose(price, [3], 1.0), choose(price, [3], 0.9)
    assert (kept.ids, kept.rule) == ([1], True)
    assert (left.ids, left.rule) == ([3], False)
    assert kept.certainty == left.certainty > 0.9
    assert choose(price, [3], 0.0).certainty == 1.0  # never asked
    assert choose(BatchPrice(pool, None), [3], 0.9).ids == [3]


def test_a_certain_gain_is_a_quantile_of_the_gain() -> None:
    pool = scattered()
    found = weights(3, growth=0.1, learnable=0.2)
    rule, other = pool.features([[1, 2, 3], [4, 5, 6]])
    numbers = (other - rule).mean(axis=0)
    wanted = norm.ppf(0.2, numbers @ found.mean, 0.1 * np.linalg.norm(numbers))
    assert CertainGain(found, rule, 0.8)(other[None]) == pytest.approx(wanted)
    assert CertainGain(found, rule, 0.5)(other[None]) == pytest.approx(numbers @ found.mean)
    assert CertainGain(found, rule, 1.0)(np.stack([rule, other])).tolist() == [0, -np.inf]
    assert CertainGain(found, rule, certainty(pool, found, [4, 5, 6], [1, 2, 3]))(other[None]) == pytest.approx(0)


def test_exchanges_from_the_rules_batch_find_what_is_certain() -> None:
    """The agent's batch is expected to gain most, but is not certain to; exchanging one image of the rule's is.

    Boxes are worth 1 mAP a nat with little doubt. Novelty is worth as much, and of that nothing is known.
    """
    scores = np.ones((5, len(COVERED + PLAIN)))
    names = [*COVERED, *PLAIN]
    scores[:, names.index("balanced")] = [9, 9, 1, 1, 1]
    scores[:, names.index("boxes")] = [1, 1, 3, 1, 1]
    scores[:, names.index("novelty")] = [1, 1, 1, 90, 90]
    pool = world([0, 100, 200, 300, 400], [[1]] * 5, scores=scores)
    doubt = np.diag([0.01 if name == "boxes" else 9.0 if name == "novelty" else 0.0 for name in FEATURES])
    price = BatchPrice(pool, replace(weights(1, boxes=1.0, novelty=1.0), covariance=doubt, rule="balanced"))
    assert rule_batch(pool, "balanced", 2) == [1, 2]
    alone = choose(price, [4, 5], 0.95)
    assert (alone.ids, alone.rule) == ([1, 2], True) and 0.5 < alone.certainty < 0.95
    found = choose(price, [4, 5], 0.95, passes=5)
    assert (found.ids, found.rule, found.of_rule) == ([1, 3], False, [1, 2])
    assert found.certainty == certainty(pool, price.weights or weights(1), [1, 3], [1, 2]) > 0.95
