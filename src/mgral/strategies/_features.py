"""Detections that are compared by their features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.types import Detections, Doubles

ZERO = 1e-6  # length up to which a vector is 0: rounding of a difference; features are stored in half precision


def unit(vectors: Doubles) -> Doubles:
    """[..., D] vectors at length 1; one that is 0 up to rounding becomes 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Doubles = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > ZERO)
    return scaled


def mean_feature(detections: Mapping[int, Detections], ids: Iterable[int], min_score: float) -> Doubles:
    """[D] mean feature of the detections of some images, from a score on; a single 0 where there are none.

    Features are averages of a map behind a ReLU: they have no negative entry, so all cosines between them are large.
    Less their mean they point in different directions, and thresholds on cosines distinguish them.

    Args:
        detections: by image id, with features.
        ids: images to average over. The sum runs in this order: sort them.
        min_score: detections below are left out.

    Raises:
        MgralError: as of :func:`described`.
    """
    total: Doubles = np.zeros(())  # takes the width of the first that is added
    count = 0
    for image in ids:
        features = described(detections, image, min_score).features
        assert features is not None
        if len(features):
            total, count = total + features.sum(axis=0, dtype=np.float64), count + len(features)
    return total / max(count, 1)


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
