"""MGRAL: the batch that the agent scores highest (arXiv 2310.08387)."""

from __future__ import annotations

import math

from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS = frozenset({"embeddings", "agent"})
Reason = dict[str, float | int | str]
REASONS: Reasons = {
    "rank": "by the policy's score, 1 is the best of the pool",
    "odds": "how many times likelier than by chance the policy would draw this image first",
    "polished": "1: taken in exchange for an image of the agent's batch, because that raises the predicted gain",
    "rule": "whose batch this is: that of the prior, which the price is not certain enough to leave",
    "certainty": "probability, by the price, that this batch gains more than the rule's; "
    "of the rule's, that the agent's does",
}


class Options(Settings):
    """None: the sections that shape the agent are ``table``, ``agent`` and ``search``."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """The ``budget`` unlabelled images of the highest score in one scan of the pool, polished where a price is given.

    What is chosen is the batch that the price is certain enough gains more than the rule's, or the rule's
    (:mod:`mgral.reward.safe_choice`). Nothing is random: the order of the scan comes with the agent. Reasons: ``rank``
    (1 is best) and ``odds``, how many times likelier than by chance the policy would draw this image first (softmax of
    the scores × N), ``polished`` of an image that :func:`mgral.reward.exchanges.polish` has brought in, ``certainty``
    where it was compared with the rule's, and ``rule`` of the rule's batch.

    Raises:
        MgralError: no agent or no embeddings, or they do not fit each other, the price or the pool.
    """
    from mgral.agent.policy import Policy, Seen
    from mgral.agent.shards import Top, scored
    from mgral.reward import batch_price, exchanges, safe_choice

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
    best: dict[int, tuple[float, Reason]]
    best = {i: (score, {"rank": rank}) for rank, (i, score) in enumerate(top.best(), start=1)}
    chosen, common, new = set(best), Reason(), Reason(polished=1)
    if price is not None:
        polished = exchanges.polish(price, list(best), evidence.polish, evidence.caution)
        choice = safe_choice.choose(price, polished, evidence.certainty, evidence.polish)
        chosen = set(choice.ids)
        if price.weights is not None and evidence.certainty:
            common["certainty"] = choice.certainty
        if choice.rule:
            common["rule"], new = price.rule, Reason()
    if chosen != set(best):
        for ids, scores in scored(policy, evidence.pool.unlabelled, state):
            for i, score in zip(ids, scores.tolist(), strict=True):
                if i in chosen:
                    best.setdefault(i, (score, new))
    picked = sorted(((i, *best[i]) for i in chosen), key=lambda one: (-one[1], one[0]))
    return [
        Pick(i, score, {**terms, **common, "odds": top.count * math.exp(score - top.logsumexp)})
        for i, score, terms in picked
    ]
