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
    "polished": "1: taken in exchange for an image of the agent's batch, because that raises the predicted gain",
}


class Options(Settings):
    """None: the sections that shape the agent are ``table``, ``agent`` and ``search``."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """The ``budget`` unlabelled images of the highest score in one scan of the pool, polished where a price is given.

    Nothing is random: the order of the scan comes with the agent. Reasons: ``rank`` (1 is best) and ``odds``,
    how many times likelier than by chance the policy would draw this image first (softmax of the scores × N), and
    ``polished`` of an image that :func:`mgral.reward.exchanges.polish` has brought in.

    Raises:
        MgralError: no agent or no embeddings, or they do not fit each other, the price or the pool.
    """
    from mgral.agent.policy import Policy, Seen
    from mgral.agent.shards import Top, scored
    from mgral.reward import batch_price, exchanges

    if evidence.agent is None or evidence.embeddings is None:
        raise MgralError("strategy mgral: needs the pool's embeddings and a trained agent; give both files")
    if not evidence.pool.unlabelled:
        return []
    policy = Policy.load(evidence.agent)
    price = batch_price.read(evidence.price, evidence.embeddings) if evidence.price else None
    state: Seen = evidence.embeddings if price is None else price.agent_state(evidence.embeddings)
    top = Top(budget)
    for ids, scores in scored(policy, evidence.pool.unlabelled, state):
        top.add(ids, scores)
    best = {i: (score, {"rank": rank}) for rank, (i, score) in enumerate(top.best(), start=1)}
    chosen = set(best)
    if price is not None:
        chosen = set(exchanges.polish(price, list(best), evidence.polish, evidence.caution))
    if chosen != set(best):
        for ids, scores in scored(policy, evidence.pool.unlabelled, state):
            for i, score in zip(ids, scores.tolist(), strict=True):
                if i in chosen:
                    best.setdefault(i, (score, {"polished": 1}))
    picked = sorted(((i, *best[i]) for i in chosen), key=lambda one: (-one[1], one[0]))
    return [
        Pick(i, score, {**terms, "odds": top.count * math.exp(score - top.logsumexp)}) for i, score, terms in picked
    ]
