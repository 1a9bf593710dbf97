"""Images ranked by a number for each of their detections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.detection.uncertainty import MIN_SCORE, Aggregate, aggregated, confident
from mgral.strategies._distributions import class_distributions

Measure = Callable[[Doubles], Doubles]  # distributions [n, C + 1], background first, to uncertainties [n] >= 0


class PerImage(Settings):
    """What is counted of an image."""

    aggregate: Aggregate = Field(default="sum", description="over an image's detections")
    min_score: float = Field(default=MIN_SCORE, ge=0, le=1, description="detections below are left out")


def most_uncertain(evidence: Evidence, budget: int, user: str, measure: Measure, options: PerImage) -> list[Pick]:
    """Pick the images of largest uncertainty, equal ones by id; an image without detections has 0.

    Args:
        evidence: ``detections`` of every unlabelled image, and their ``activation``.
        budget: images wanted.
        user: who asks, for messages.
        measure: of a detection's distribution over background and classes.
        options: see :class:`PerImage`.

    Returns:
        Picks with the reasons ``uncertainty`` and ``detections`` (how many were counted).

    Raises:
        MgralError: no detections, or an image without an entry or with probabilities that are not finite.
    """
    ids = sorted(evidence.pool.unlabelled)
    detections, activation = evidence.detections_of(ids, user), evidence.activation_for(user)
    picks = []
    for i in ids:
        kept = confident(detections[i], options.min_score)
        if not np.isfinite(kept.probs).all():
            raise MgralError(f"image {i} has class probabilities that are not finite; lower training.learning_rate")
        each = measure(class_distributions(kept.probs.astype(np.float64), activation))
        score = aggregated(each, options.aggregate) if len(kept) else 0.0
        picks.append(Pick(i, score, {"uncertainty": score, "detections": len(kept)}))
    return sorted(picks, key=lambda pick: (-pick.score, pick.id))[:budget]
