"""The strategy that asks the agent."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mgral.agent.policy import Policy, sequence
from mgral.core.errors import MgralError
from mgral.core.types import Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.mgral import NEEDS, Options, select


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    Policy(8, 9, seed=5).save(tmp_path / "agent.safetensors")
    return Evidence(
        pool=Pool(0, {3: 0, 11: 0}, tuple(i for i in range(1, 31) if i not in (3, 11))),
        classes=("cell",),
        embeddings=Embeddings(np.arange(1, 31), vectors),
        agent=tmp_path / "agent.safetensors",
    )


def test_needs() -> None:
    assert sorted(NEEDS) == ["agent", "embeddings"]


def test_the_highest_scores_are_picked_with_their_odds(evidence: Evidence) -> None:
    assert evidence.embeddings is not None
    policy = Policy(8, 9, seed=5)
    ids, features = sequence(evidence.pool.unlabelled, evidence.embeddings, policy)
    scores = dict(zip(ids, policy(features).tolist(), strict=True))
    picks = select(evidence, 4, 0, Options())
    assert [pick.id for pick in picks] == sorted(ids, key=lambda i: -scores[i])[:4]
    total = sum(math.exp(score) for score in scores.values())
    for rank, pick in enumerate(picks, start=1):
        assert pick.score == pytest.approx(scores[pick.id])
        assert pick.reason == {
            "rank": rank,
            "odds": pytest.approx(28 * math.exp(pick.score) / total, rel=1e-5),
        }


def test_the_order_of_the_pool_and_the_seed_do_not_matter(evidence: Evidence) -> None:
    turned = replace(evidence, pool=Pool(0, evidence.pool.labelled, evidence.pool.unlabelled[::-1]))
    assert select(turned, 6, 1, Options()) == select(evidence, 6, 0, Options())


def test_labelled_images_are_never_picked(evidence: Evidence) -> None:
    picks = select(evidence, 99, 0, Options())
    assert sorted(pick.id for pick in picks) == list(evidence.pool.unlabelled)
    assert select(replace(evidence, pool=Pool(0, {1: 0}, ())), 5, 0, Options()) == []


def test_equal_scores_go_to_the_smaller_id(evidence: Evidence) -> None:
    assert evidence.agent is not None
    policy = Policy(8, 9, seed=5)
    torch.nn.init.zeros_(policy.decoder.weight)
    policy.save(evidence.agent)
    picks = select(evidence, 4, 0, Options())
    assert [pick.id for pick in picks] == [1, 2, 4, 5]
    assert picks[0].reason["odds"] == pytest.approx(1)


def test_what_is_missing_is_named(evidence: Evidence) -> None:
    for without in (replace(evidence, agent=None), replace(evidence, embeddings=None)):
        with pytest.raises(MgralError, match="strategy mgral: needs the pool's embeddings and a trained agent"):
            select(without, 2, 0, Options())
