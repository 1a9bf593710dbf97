"""Whole searches on rewards whose best batch is known: what an agent is expected to learn, it learns."""

from __future__ import annotations

import numpy as np
import pytest
from rewards import Batch, Known, pool, settings

from mgral.agent import reinforce
from mgral.agent.policy import Policy, sequence
from mgral.core.types import Embeddings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1])
def test_the_agent_finds_the_best_batch_of_an_additive_reward(seed: int) -> None:
    """A batch is worth the mean of its images' values, a linear function of their embeddings."""
    embeddings = pool(60, 16)
    values = embeddings.vectors @ np.random.default_rng(0).normal(size=16).astype(np.float32)
    values = (values - values.mean()) / values.std()
    table = Known(lambda batch: float(0.01 * np.mean([values[i - 1] for i in batch])))
    result = reinforce.run(Policy(16, 64, seed), embeddings, range(1, 61), table, 6, settings(400), seed)
    ids, features = sequence(range(1, 61), embeddings, result.policy)
    chosen = [ids[k] for k in result.policy(features).argsort(descending=True)[:6].tolist()]
    best = 0.01 * np.sort(values)[-6:].mean()
    assert abs(result.rows[0].reward) < 0.4 * best
    assert np.mean([row.reward for row in result.rows[-20:]]) > 0.8 * best
    assert 0.01 * np.mean([values[i - 1] for i in chosen]) > 0.85 * best


@pytest.mark.parametrize("seed", [0, 1])
def test_the_agent_learns_not_to_take_duplicates(seed: int) -> None:
    """Eight pictures, five identical copies of each, and 40 worthless images; a batch is worth what it covers.

    Picture k is worth (14 - k) / 14 once, its copies nothing more; the total is 84/14 = 6. The eight images of the
    highest value are five copies of the first and three of the second picture: (14 + 13) / 14, 0.32 of the total.
    Copies have the same embedding, so only the state of the scan can tell the first of them from the others.
    """
    rng = np.random.default_rng(0)
    pictures, others = rng.normal(size=(8, 16)), rng.normal(size=(40, 16))
    embeddings = Embeddings(
        np.arange(1, 81), np.concatenate([np.repeat(pictures, 5, axis=0), others]).astype(np.float32)
    )
    value = [(14 - k) / 14 for k in range(8)]

    def covered(batch: Batch) -> float:
        return sum(value[k] for k in {(i - 1) // 5 for i in batch if i <= 40}) / 6

    top_by_value = [1, 2, 3, 4, 5, 6, 7, 8]
    assert covered(top_by_value) == pytest.approx(27 / 84)
    random = np.mean([covered(rng.choice(80, 8, replace=False) + 1) for _ in range(500)])
    table = Known(lambda batch: 0.05 * covered(batch))
    result = reinforce.run(Policy(16, 64, seed), embeddings, range(1, 81), table, 8, settings(400, 8), seed)
    ids, features = sequence(range(1, 81), embeddings, result.policy)
    chosen = [ids[k] for k in result.policy(features).argsort(descending=True)[:8].tolist()]
    assert covered(chosen) > 0.75
    assert covered(chosen) > 2 * covered(top_by_value)
    assert covered(chosen) > 1.5 * random
    assert np.mean([row.reward for row in result.rows[-20:]]) > 0.05 * 0.75
