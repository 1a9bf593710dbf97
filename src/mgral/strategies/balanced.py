"""balanced: class-balanced entropy with coverage. It needs no reward and trains nothing.

Entropy favours classes that are common and scenes that repeat. Here each detection's entropy is divided among the
classes by their probabilities, classes with few labelled boxes weigh more (w_c ∝ 1 / (N_c + 1)), and an image counts
the less the nearer its embedding lies to an image that is labelled or already chosen. The formulas are in
:mod:`mgral.reward.signals`.
"""

from __future__ import annotations

import numpy as np

from mgral.config.base import Settings
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.reward.signals import Signals, measure
from mgral.strategies import _greedy_picks
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"detections", "embeddings", "labels"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "balanced_entropy": "entropy of the detections, classes with few labelled boxes weighing more; in nats",
    "class": "the class that contributes most to it",
    "coverage": "0: a copy of an image that is labelled or was picked before; 1: unlike all of them",
}


class Options(Settings):
    """balanced has none."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of the largest class-balanced entropy times coverage, one by one; equal ones by id.

    Args:
        evidence: ``detections`` and ``embeddings`` of every image of the pool, ``labels`` of the labelled ones.
        budget: images wanted.
        seed: unused, nothing is random.
        options: none.

    Raises:
        MgralError: a part of the evidence is missing or not finite.
    """
    signals = measure(evidence, "strategy balanced")
    return _greedy_picks.by_score(
        signals, signals.balanced, budget, lambda row: balanced_reason(signals, row, evidence.classes)
    )


def balanced_reason(signals: Signals, row: int, classes: tuple[str, ...]) -> _greedy_picks.Reason:
    """The image's class-balanced entropy and the class that gives most of it, if any does."""
    parts = signals.by_class[row] * signals.class_weights
    reason: _greedy_picks.Reason = {"balanced_entropy": float(signals.balanced[row])}
    if parts.max() > 0:
        reason["class"] = classes[int(np.argmax(parts))]
    return reason
