"""A pool in shards: the scores of the whole scan, the same picks, and sums over all that are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from mgral.agent.policy import Policy, sample, sequence
from mgral.agent.shards import Top, scored
from mgral.core.types import Embeddings

IDS = range(1, 4001)


@pytest.fixture(scope="module")
def embeddings() -> Embeddings:
    vectors = np.random.default_rng(0).standard_normal((len(IDS), 6), np.float32)
    return Embeddings(np.array(IDS), vectors)


def whole(policy: Policy, embeddings: Embeddings) -> tuple[list[int], np.ndarray]:
    ids, features = sequence(IDS, embeddings, policy)
    with torch.no_grad():
        return ids, policy(features).double().numpy()


@pytest.mark.parametrize("parallel", [1, 4, 7])
@pytest.mark.parametrize("shard", [300, 999, 1500, 2000, 4000])
def test_shards_give_the_scores_and_picks_of_the_whole_scan(embeddings: Embeddings, shard: int, parallel: int) -> None:
    policy = Policy(6, 9, 0, parallel=parallel, lead=32)
    ids, expected = whole(policy, embeddings)
    parts = list(scored(policy, IDS, embeddings, shard))
    assert [len(part) for part, _ in parts[:-1]] == [shard] * (len(parts) - 1)
    assert [i for part, _ in parts for i in part] == ids
    np.testing.assert_allclose(np.concatenate([scores for _, scores in parts]), expected, atol=2e-6)
    top = Top(50)
    for part, scores in parts:
        top.add(part, scores)
    best = sorted(zip(ids, expected.tolist(), strict=True), key=lambda one: (-one[1], one[0]))[:50]
    assert [i for i, _ in top.best()] == [i for i, _ in best]
    assert top.count == len(ids)
    assert top.logsumexp == pytest.approx(logsumexp(expected), abs=1e-6)


def test_a_policy_that_does_not_forget_is_scanned_in_one_chain(embeddings: Embeddings) -> None:
    policy = Policy(6, 9, 0, parallel=4, lead=16)
    with torch.no_grad():  # gates that stay open
        policy.lstm.bias_ih_l0[9:18] = 8.0
        policy.lstm.bias_ih_l0[:9] = 2.0
    _, features = sequence(IDS, embeddings, policy)
    with torch.no_grad():
        expected = policy._chain(features).double().numpy()
    found = np.concatenate([scores for _, scores in scored(policy, IDS, embeddings, 1500)])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert policy.lead > 16


@pytest.mark.parametrize("seed", range(5))
def test_merging_is_exact_with_equal_values_and_with_gumbel_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids, scores = rng.permutation(1000) + 1, rng.integers(0, 40, 1000) / 7
    noise = torch.empty(1, 1000, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(seed))
    drawn = sample(torch.from_numpy(scores), 30, 1, torch.Generator().manual_seed(seed))[0].numpy()
    for values, expected in (
        (scores, ids[np.lexsort((ids, -scores))[:30]]),
        (scores - noise[0].log().numpy(), ids[drawn]),  # Plackett-Luce over all, by the same noise
    ):
        top = Top(30)
        for rows in np.array_split(np.arange(1000), [1, 10, 11, 500, 500]):
            top.add(ids[rows].tolist(), values[rows])
        assert [image for image, _ in top.best()] == expected.tolist()
        assert top.logsumexp == pytest.approx(logsumexp(values), abs=1e-12)


def test_fewer_images_than_are_wanted() -> None:
    top = Top(5)
    top.add([4, 2], np.array([0.5, 0.5]))
    assert top.best() == [(2, 0.5), (4, 0.5)]
