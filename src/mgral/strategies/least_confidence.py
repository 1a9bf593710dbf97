"""least_confidence: the images in whose detections the likeliest class is least likely (Lewis & Gale 1994).

A detection counts 1 - p1 with the largest probability of its distribution over background and classes, so a detection
that is surely background counts little. An image counts the sum, mean or maximum of its detections. The classes of a
sigmoid detector are made a distribution [R] (:mod:`mgral.strategies._distributions`).
"""

from __future__ import annotations

from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons
from mgral.strategies._per_image import PerImage, most_uncertain

NEEDS: frozenset[str] = frozenset({"detections"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "uncertainty": "of the image's detections together: each counts 1 - probability of its likeliest class",
    "detections": "how many were counted",
}


class Options(PerImage):
    """Options of least_confidence."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of least confidence; arguments and errors as of :func:`most_uncertain`, ``seed`` is unused."""
    return most_uncertain(evidence, budget, "strategy least_confidence", doubts, options)


def doubts(distributions: Doubles) -> Doubles:
    """[n] 1 - the largest probability of distributions [n, K]."""
    rest: Doubles = 1 - distributions.max(axis=1, initial=0)
    return rest
