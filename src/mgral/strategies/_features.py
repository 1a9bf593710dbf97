"""Detections that are compared by their features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.types import Detections, Doubles


def unit(vectors: Doubles) -> Doubles:
    """[..., D] vectors at length 1; 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Doubles = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled


def described(detections: Mapping[int, Detections], image: int, min_score: float) -> Detections:
    """The detections of an image from a score on, with features.

    Raises:
        MgralError: the image's detections have no features, or scores or features that are not finite.
    """
    found = detections[image]
    if found.features is None:
        raise MgralError(f"image {image} has detections without features; run `mgral embed` again for detections.npz")
    if not (np.isfinite(found.scores).all() and np.isfinite(found.features).all()):
        raise MgralError(f"image {image} has scores or features that are not finite; lower training.learning_rate")
    rows = found.scores >= min_score
    return Detections(found.xyxy[rows], found.scores[rows], found.labels[rows], found.probs[rows], found.features[rows])
