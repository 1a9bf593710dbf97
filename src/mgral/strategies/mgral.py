"""MGRAL: the batch that the agent scores highest (arXiv 2310.08387)."""

from __future__ import annotations

import math

from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS = frozenset({"embeddings", "agent"})
REASONS: Reasons = {
    "rank": "by the policy's score, 1 is the best of the pool",
    "odds": "how many times likelier than by chance the policy would draw this image first",
}


class Options(Settings):
    """None: what shapes the agent stands in the sections ``table``, ``agent`` and ``search``."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """The ``budget`` unlabelled images of the highest score in one scan of the pool.

    Nothing is random: the order of the scan comes with the agent. Reasons: ``rank`` (1 is best) and ``odds``,
    how many times likelier than by chance the policy would draw this image first (softmax of the scores × N).

    Raises:
        MgralError: no agent or no embeddings, or they do not fit each other or the pool.
    """
    from mgral.agent.policy import Policy
    from mgral.agent.shards import Top, scored

    if evidence.agent is None or evidence.embeddings is None:
        raise MgralError("strategy mgral: needs the pool's embeddings and a trained agent; give both files")
    if not evidence.pool.unlabelled:
        return []
    policy = Policy.load(evidence.agent)
    top = Top(budget)
    for ids, scores in scored(policy, evidence.pool.unlabelled, evidence.embeddings):
        top.add(ids, scores)
    return [
        Pick(i, score, {"rank": rank, "odds": top.count * math.exp(score - top.logsumexp)})
        for rank, (i, score) in enumerate(top.best(), start=1)
    ]
