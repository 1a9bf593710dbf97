"""adaptive: balanced where the detector is right when it is confident, learnable where it is not.

Selection by uncertainty helps a detector that can use what it picks, and hurts one that cannot. Which of the two it is,
the cycle's detector shows on val: the share of its detections with a score of at least 0.3 that are right
(:mod:`mgral.reward.adaptive`). From 0.6 on the batch is that of ``balanced``; below, or with fewer than 10 such
detections, that of ``learnable``. It needs no reward: one more detector is trained and no proxy.
"""

from __future__ import annotations

from mgral.config.base import Settings
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.reward.adaptive import rule_for
from mgral.strategies import balanced, learnable
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = balanced.NEEDS | learnable.NEEDS | {"competence"}
USES_PROBABILITIES = True
REASONS: Reasons = {
    "rule": "balanced or learnable: which of the two chose the batch",
    **learnable.REASONS,
}


class Options(Settings):
    """adaptive has none."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick as the rule that fits the detector does; the reason of each pick names the rule.

    Args:
        evidence: ``detections`` and ``embeddings`` of every image of the pool, ``labels`` of the labelled ones, what
            the replay detector finds in those that were ``held_out``, and ``confident`` detections on val.
        budget: images wanted.
        seed: unused, nothing is random.
        options: none.

    Raises:
        MgralError: a part of the evidence is missing or not finite.
    """
    user = "strategy adaptive"
    rule = rule_for(evidence.confident_for(user))
    evidence.labels_for(user)
    evidence.competence_for(user)
    evidence.held_out_for(user)
    evidence.detections_of((), user)
    evidence.embeddings_of((), user)
    if rule == "balanced":
        picks = balanced.select(evidence, budget, seed, balanced.Options())
    else:
        picks = learnable.select(evidence, budget, seed, learnable.Options())
    return [Pick(pick.id, pick.score, {"rule": rule, **pick.reason}) for pick in picks]


def uses(options: Options) -> list[str]:
    """The strategies that it runs."""
    return ["balanced", "learnable"]
