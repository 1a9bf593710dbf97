"""Images ranked by a number for each of their detections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.detection.uncertainty import confident
from mgral.strategies._distributions import class_distributions

Aggregate = Literal["sum", "mean", "max"]
Measure = Callable[[Doubles], Doubles]  # distributions [n, C + 1], background first, to uncertainties [n] >= 0


def most_uncertain(
    evidence: Evidence, budget: int, user: str, measure: Measure, aggregate: Aggregate, min_score: float
) -> list[Pick]:
    """Pick the images of largest uncertainty, equal ones by id; an image without detections has 0.

    Args:
        evidence: ``detections`` of every unlabelled image, and their ``activation``.
        budget: images wanted.
        user: who asks, for messages.
        measure: of a detection's distribution over background and classes.
        aggregate: over an image's detections.
        min_score: detections below are left out.

    Returns:
        Picks with the reasons ``uncertainty`` and ``detections`` (how many were counted).

    Raises:
        MgralError: no detections, or an image without an entry or with probabilities that are not finite.
    """
    ids = sorted(evidence.pool.unlabelled)
    detections, activation = evidence.detections_of(ids, user), evidence.activation_for(user)
    picks = []
    for i in ids:
        kept = confident(detections[i], min_score)
        if not np.isfinite(kept.probs).all():
            raise MgralError(f"image {i} has class probabilities that are not finite; lower training.learning_rate")
        each = measure(class_distributions(kept.probs.astype(np.float64), activation))
        score = _together(each, aggregate) if len(kept) else 0.0
        picks.append(Pick(i, score, {"uncertainty": score, "detections": len(kept)}))
    return sorted(picks, key=lambda pick: (-pick.score, pick.id))[:budget]


def _together(values: Doubles, aggregate: Aggregate) -> float:
    if aggregate == "mean":
        return float(values.mean())
    return float(values.max() if aggregate == "max" else values.sum())
