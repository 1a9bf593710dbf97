"""most_classes: the images in which the detector finds the most different classes."""

from __future__ import annotations

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Pick
from mgral.data.evidence import Evidence

NEEDS: frozenset[str] = frozenset({"detections"})
REASONS = {"classes": "different classes found", "detections": "how many detections were counted"}


class Options(Settings):
    """Options of most_classes."""

    min_score: float = Field(default=0.3, ge=0, le=1, description="detections below are left out")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images with the most classes, then the most detections, then the smaller id.

    Args:
        evidence: ``detections`` of every unlabelled image.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no detections, or an image without an entry.
    """
    ids = sorted(evidence.pool.unlabelled)
    detections = evidence.detections_of(ids, "strategy most_classes")
    picks = []
    for i in ids:
        labels = detections[i].labels[detections[i].scores >= options.min_score]
        reason = {"classes": len(set(labels.tolist())), "detections": len(labels)}
        picks.append(Pick(i, float(reason["classes"]), reason))
    return sorted(picks, key=lambda pick: (-pick.score, -pick.reason["detections"], pick.id))[:budget]
