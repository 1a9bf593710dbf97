"""most_boxes: the images with the most detections. A control, not a contender.

Cost is counted in images by most of the literature, and crowded images bring more boxes for the price of one. A
strategy that does not beat this one per box has learnt to pick crowds.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"detections"})
CONTROL = "picks crowded images"
REASONS: Reasons = {
    "boxes": "how many detections were counted",
    "classes": "how many classes these are of",
}


class Options(Settings):
    """Options of most_boxes."""

    min_score: float = Field(default=0.3, ge=0, le=1, description="detections below are not counted")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of most detections, equal ones by id; the count is the score.

    Args:
        evidence: ``detections`` of every unlabelled image.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no detections, or an image without an entry.
    """
    detected = evidence.detections_of(evidence.pool.unlabelled, "strategy most_boxes")
    picks = []
    for i in evidence.pool.unlabelled:
        detections = detected[i]
        labels = detections.labels[detections.scores >= options.min_score]
        picks.append(Pick(i, float(len(labels)), {"boxes": len(labels), "classes": len(np.unique(labels))}))
    return sorted(picks, key=lambda pick: (-pick.score, pick.id))[:budget]
