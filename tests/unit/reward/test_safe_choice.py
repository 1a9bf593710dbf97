"""The agent's batch or the rule's: certainty by hand, and the batch of a rule where coverage decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from worlds import scattered, weights, world

from mgral.reward.batch_price import BatchPrice
from mgral.reward.growth import COVERED, FEATURES, PLAIN
from mgral.reward.safe_choice import certainty, choose, rule_batch


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
