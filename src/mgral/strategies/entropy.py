"""entropy: the images about whose detections the detector is least sure.

Image score = sum, mean or maximum over its detections of their entropy. The sum favours crowded images of
redundant classes, the mean blurred ones.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from mgral.core.types import Detections, Pick
from mgral.data.evidence import Evidence
from mgral.detection.uncertainty import Empty, PerDetection, confident, pool_entropies
from mgral.strategies._contract import Reasons
from mgral.strategies._per_image import PerImage

NEEDS: frozenset[str] = frozenset({"detections"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "entropy": "of the image's detections together, in nats unless normalised; the larger, the less sure the detector",
    "detections": "how many were counted",
    "top_class": "class of the surest detection",
    "top_score": "score of the surest detection, 0 to 1",
    "empty": "nothing was detected: zero ranks such an image last, highest first",
}


class Options(PerImage):
    """Options of entropy; ``min_score: 0.5`` is a common variant."""

    per_detection: PerDetection = Field(
        default="auto",
        description="softmax: -sum p log p over background and classes; binary: of the top score; "
        "auto: whichever fits the detector",
    )
    normalise: bool = Field(
        default=False, description="divide by the largest value there is: log(C+1), or log 2 for binary"
    )
    empty: Empty = Field(default="zero", description="image without detection: zero, or as high as the pool's highest")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of largest entropy, equal ones by id.

    Args:
        evidence: ``detections`` of every unlabelled image, and their ``activation``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no detections, an image without an entry, or ``per_detection`` does not fit the detector.
    """
    ids = sorted(evidence.pool.unlabelled)
    detections = evidence.detections_of(ids, "strategy entropy")
    activation = evidence.activation_for("strategy entropy")
    scores = pool_entropies(ids, detections, activation, **options.model_dump())
    order = np.argsort(-scores, kind="stable")[:budget]
    picks = []
    for row in order:
        score, kept = float(scores[row]), confident(detections[ids[row]], options.min_score)
        picks.append(Pick(ids[row], score, _reason(score, kept, evidence.classes, options)))
    return picks


def _reason(score: float, kept: Detections, classes: tuple[str, ...], options: Options) -> dict[str, float | int | str]:
    """Entropy, how many detections made it, and the surest of them."""
    if not len(kept):
        return {"entropy": score, "detections": 0, "empty": options.empty}
    top = int(np.argmax(kept.scores))
    return {
        "entropy": score,
        "detections": len(kept),
        "top_class": classes[int(kept.labels[top])],
        "top_score": float(kept.scores[top]),
    }
