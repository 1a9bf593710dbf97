"""least_confidence: the images in whose detections the likeliest class is least likely (Lewis & Gale 1994).

A detection counts 1 - p1 with the largest probability of its distribution over background and classes, so a detection
that is surely background counts little. An image counts the sum, mean or maximum of its detections. The classes of a
sigmoid detector are made a distribution [R] (:mod:`mgral.strategies._distributions`).
"""

from __future__ import annotations

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.detection.uncertainty import MIN_SCORE
from mgral.strategies._contract import Reasons
from mgral.strategies._per_image import Aggregate, most_uncertain

NEEDS: frozenset[str] = frozenset({"detections"})
REASONS: Reasons = {
    "uncertainty": "of the image's detections together: each counts 1 - probability of its likeliest class",
    "detections": "how many were counted",
}


class Options(Settings):
    """Options of least_confidence."""

    aggregate: Aggregate = Field(default="sum", description="over an image's detections")
    min_score: float = Field(default=MIN_SCORE, ge=0, le=1, description="detections below are left out")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of least confidence, equal ones by id.

    Args:
        evidence: ``detections`` of every unlabelled image, and their ``activation``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no detections, or an image without an entry or with probabilities that are not finite.
    """
    user = "strategy least_confidence"
    return most_uncertain(evidence, budget, user, doubts, options.aggregate, options.min_score)


def doubts(distributions: Doubles) -> Doubles:
    """[n] 1 - the largest probability of distributions [n, K]."""
    rest: Doubles = 1 - distributions.max(axis=1, initial=0)
    return rest
