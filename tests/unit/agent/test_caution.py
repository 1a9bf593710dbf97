"""search.caution: the reward is a lower bound of the predicted gain, by the deviations of the table itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rewards import settings
from tables import line, params
from worlds import scattered, world

from mgral.agent import reinforce
from mgral.agent.policy import Policy
from mgral.config.schema import Table
from mgral.core.errors import MgralError
from mgral.core.types import Embeddings, Floats, Record
from mgral.reward.growth import COVERED, FEATURES, PLAIN, World, Worlds
from mgral.reward.lookup_table import LookupTable
from mgral.reward.surrogates import cautious

BATCH = 4


def table(pool: World, batch: int = BATCH, count: int = 16) -> LookupTable:
    """Records whose gain is 0.3 mAP per nat of learnable."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        ids = tuple(sorted(rng.choice(pool.ids, batch, replace=False).tolist()))
        gain = 0.3 * pool.features([ids])[0, :, FEATURES.index("learnable")] + 0.002 * rng.normal(size=len(pool.boxes))
        level = 0.5 + gain
        found.append(Record(ids, "random", float(level.mean()), 1.0, per_class=tuple(level.tolist())))
    embeddings = Embeddings(pool.ids, pool.vectors)
    return LookupTable(found, embeddings, params(representation="growth", surrogate="bayes"), worlds=Worlds(pool))


def test_of_two_batches_of_one_gain_the_less_certain_is_worth_less() -> None:
    # By hand: 0.02 each, with deviations 0.01 and 0.03: less half a deviation 0.015 and 0.005.
    gain, deviation = np.array([0.02, 0.02]), np.array([0.01, 0.03])
    assert cautious(gain, deviation, 0.5).tolist() == pytest.approx([0.015, 0.005])
    assert cautious(gain, deviation, 0).tolist() == cautious(gain, None, 0).tolist() == [0.02, 0.02]
    with pytest.raises(MgralError, match=r"search\.caution: this table\.surrogate knows no standard deviation"):
        cautious(gain, None, 0.5)


@pytest.mark.slow
def test_the_bound_reorders_batches_by_what_records_leave_open() -> None:
    """The posterior's deviation grows with the distance of a batch's numbers from those of random batches."""
    pool = scattered(60)
    found = table(pool)
    rng = np.random.default_rng(2)
    batches = [rng.choice(pool.ids, BATCH, replace=False).tolist() for _ in range(64)]
    price = found.price(batches)
    assert price.deviation is not None
    weights = found.weights
    assert weights is not None
    x = pool.features(batches).mean(axis=1)
    by_hand = np.sqrt([row @ weights.covariance @ row for row in x])
    assert price.deviation == pytest.approx(by_hand)
    bound = cautious(price.value, price.deviation, 2.0)
    assert bound == pytest.approx(price.value - 2 * by_hand)
    # of the ten with the highest gain, one that is less certain falls behind one that is more so
    best = np.argsort(-price.value)[:10]
    falls = (bound[best][:, None] < bound[best]) & (np.arange(10)[:, None] < np.arange(10))
    assert falls.any()
    assert (by_hand[best][:, None] - by_hand[best])[falls].min() > 0


@pytest.mark.slow
def test_the_agent_is_rewarded_by_the_bound() -> None:
    """The first iteration draws the same batches whatever the caution; its reward falls by their mean deviation."""
    pool = scattered(60)
    found, state = table(pool), Embeddings(pool.ids, pool.state())
    seen: list[Any] = []

    class Watched:
        """The table, and what it was asked."""

        def price(self, batches: Any) -> Any:
            seen.append(batches)
            return found.price(batches)

        add, gain = found.add, found.gain

    policy = Policy(state.vectors.shape[1], 6, seed=0)
    rows = [
        reinforce.run(policy, state, pool.ids.tolist(), Watched(), BATCH, settings(1, caution=caution), 0).rows[0]
        for caution in (0.0, 0.5, 2.0)
    ]
    assert seen[0] == seen[1] == seen[2]
    deviation = found.price(seen[0]).deviation
    assert deviation is not None and deviation.mean() > 1e-4
    assert rows[0].reward == pytest.approx(float(found.price(seen[0]).value.mean()))
    for row, caution in zip(rows[1:], (0.5, 2.0), strict=True):
        assert row.reward == pytest.approx(rows[0].reward - caution * deviation.mean())


@pytest.mark.slow
def test_a_cautious_agent_takes_what_is_known() -> None:
    """The risky images price a little higher than the sound ones, and lie far off in novelty, which is uncertain."""
    risky, sound = np.arange(40) % 5 == 1, np.arange(40) % 5 == 3
    scores = np.ones((40, len(COVERED + PLAIN)))
    scores[:, 1] = np.select([risky, sound], [2.1, 2.0], 0.5)  # learnable: the weight of the prior is on it
    scores[:, 4] = np.where(risky, 6.0, 1.0)
    pool = world(np.zeros(40).tolist(), [[1.0]] * 40, scores=scores, squares=np.full(40, 1e6), labelled=8, scale=1e-3)
    pool = replace(pool, vectors=np.arange(40, dtype=np.float32)[:, None])
    found = table(pool, count=3)  # too few records for a signal: the prior, with all of its deviation
    state = Embeddings(pool.ids, _standard(pool.state()))
    taken = {}
    for caution in (0.0, 2.0):
        chosen = settings(100, caution=caution, learning_rate=0.03)
        result = reinforce.run(Policy(state.vectors.shape[1], 6, 1), state, pool.ids.tolist(), found, BATCH, chosen, 3)
        taken[caution] = np.array(_best(result.policy, state)) - 1
    assert risky[taken[0.0]].all()
    assert sound[taken[2.0]].all()
    price = found.price([(taken[caution] + 1).tolist() for caution in (0.0, 2.0)])
    assert price.deviation is not None
    assert price.value[0] > price.value[1] and price.deviation[0] > 1.3 * price.deviation[1]


@pytest.mark.parametrize("surrogate", ["nearest", "ridge"])
def test_a_surrogate_without_deviations_is_refused(surrogate: str) -> None:
    embeddings = line(0, 1, 2, 3)
    section: Table = params(1, surrogate=surrogate)
    found = LookupTable([Record((1,), "random", 0.2, 1.0), Record((3,), "random", 0.4, 1.0)], embeddings, section)
    with pytest.raises(MgralError, match=r"search\.caution"):
        reinforce.run(Policy(2, 4, 0), embeddings, [1, 2, 3, 4], found, 1, settings(1, caution=1.0), 0)


def _standard(state: Floats) -> Floats:
    spread = state.std(axis=0)
    found: Floats = ((state - state.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
    return found


def _best(policy: Policy, state: Embeddings) -> list[int]:
    from mgral.agent.shards import Top, scored

    top = Top(BATCH)
    for ids, scores in scored(policy, state.ids.tolist(), state):
        top.add(ids, scores)
    return [i for i, _ in top.best()]
