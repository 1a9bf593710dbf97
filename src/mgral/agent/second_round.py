"""A second round of batches for the proxies, drawn by the agent that was trained on the records of the first.

These are batches where the agent will look for the best.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mgral.agent.policy import Policy
from mgral.agent.shards import scored
from mgral.core.errors import MgralError
from mgral.data.evidence import Evidence
from mgral.reward.candidate_batches import CandidateBatch, draw_unseen, without_replacement


def draw_by_agent(
    count: int, batch: int, temperature: float, evidence: Evidence, seed: int, others: Iterable[CandidateBatch] = ()
) -> list[CandidateBatch]:
    """Draw batches of unlabelled images by an agent's scores (Plackett–Luce), as its own search drew them.

    Args:
        count: number of batches, as in :func:`mgral.reward.candidate_batches.draw`.
        batch: images in each.
        temperature: of that search (search.temperature).
        evidence: the pool, its embeddings and the agent.
        seed: of the draws.
        others: batches of the first round, which are not drawn again.

    Raises:
        MgralError: no unlabelled image is left, or evidence is missing or does not fit.
    """
    if evidence.agent is None or evidence.embeddings is None:
        raise MgralError("proxy.generators.agent: needs embeddings and an agent; give --embeddings and --agent")
    policy = Policy.load(evidence.agent)
    parts = scored(policy, evidence.pool.unlabelled, evidence.embeddings)
    by_id = {i: score for ids, scores in parts for i, score in zip(ids, scores.tolist(), strict=True)}
    ids = sorted(by_id)
    scores = np.array([by_id[i] for i in ids]) / temperature
    size = min(batch, len(ids))
    seen = {tuple(other["ids"]) for other in others}
    batches: list[CandidateBatch] = []
    for k in range(count):
        names = (seed, "draw", evidence.pool.cycle, "agent")
        _, chosen = draw_unseen(lambda _, rng: without_replacement(scores, size, rng), k, ids, size, seen, names)
        seen.add(chosen)
        batches.append({"generator": "agent", "ids": list(chosen)})
    return batches
