"""What a strategy may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mgral.core.types import Activation, Boxes, Detections, Embeddings, ImageScores
from mgral.data.pool import Pool


@dataclass(frozen=True)
class Evidence:
    """What a strategy may look at.

    Attributes:
        pool: labelled and unlabelled ids.
        classes: class names; detections' labels index them.
        detections: of every image of the pool, after non-maximum suppression, best score first.
        activation: whether ``detections`` hold softmax or sigmoid probabilities.
        embeddings: of every image of the pool.
        agent: file of the trained policy.
        labels: ground truth of the labelled images.
        truth: ground truth of every image of the pool, the unlabelled ones too. To look at it is to cheat: there is
            none outside simulations.
        image_scores: of every unlabelled image, by the strategy's own ``score``.
    """

    pool: Pool
    classes: tuple[str, ...]
    detections: Mapping[int, Detections] | None = None
    activation: Activation | None = None
    embeddings: Embeddings | None = None
    agent: Path | None = None
    labels: Mapping[int, Boxes] | None = None
    truth: Mapping[int, Boxes] | None = None
    image_scores: ImageScores | None = None
