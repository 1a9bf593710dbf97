"""How well a detector finds what is in an image, and what that says about images whose labels are unknown.

``quality`` is the soft Jaccard of one image: the scores of right detections ÷ (boxes + scores of wrong ones). Which are
right: :mod:`mgral.detection.correct_detections`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mgral.core.types import Activation, Boxes, Detections, Doubles
from mgral.detection.correct_detections import matched
from mgral.detection.uncertainty import pool_entropies

LOWEST, HIGHEST = 0.02, 1.0  # of an expected quality: no image is excluded


def quality(truth: Boxes, found: Detections) -> float:
    """Soft Jaccard of one image, 0..1. Boxes to ignore, and detections matched to them, do not count."""
    right, counts = matched(truth, found)
    of_right = sum(found.scores[right].tolist())
    whole = int((~truth.ignore).sum()) + sum(found.scores[counts & ~right].tolist())
    return of_right / whole if whole > 0 else 0.0


def ranks(values: Doubles) -> Doubles:
    """[n] ranks scaled to 0..1, equal values sharing their mean rank; 0.5 for a single one."""
    from scipy.stats import rankdata

    if len(values) < 2:
        return np.full(len(values), 0.5)
    scaled: Doubles = (rankdata(values) - 1) / (len(values) - 1)
    return scaled


def quality_by_rank(
    held_out: Sequence[Mapping[int, Detections]], labels: Mapping[int, Boxes], activation: Activation
) -> tuple[float, float]:
    """The line intercept + slope · rank, least squares over held-out labelled images that have boxes.

    An image's rank is that among the images of its own split, which one detector looked at.

    Args:
        held_out: of each replay split the detections by a detector that was not trained on these images.
        labels: their ground truth, among that of others.
        activation: of these detectors.

    Returns:
        Intercept and slope. With fewer than two different ranks the slope is 0; with no such image the intercept is 1,
        since nothing speaks against any image.
    """
    points: list[tuple[float, float]] = []
    for found in held_out:
        ids = sorted(found)
        places = ranks(pool_entropies(ids, found, activation)).tolist()
        known = [(i, x) for i, x in zip(ids, places, strict=True) if (~labels[i].ignore).any()]
        points += [(x, quality(labels[i], found[i])) for i, x in known]
    if not points:
        return 1.0, 0.0
    x, y = np.array(points).T
    centred = x - x.mean()
    spread = float((centred**2).sum())
    slope = float((centred * y).sum()) / spread if spread > 0 else 0.0
    return float(y.mean()) - slope * float(x.mean()), slope


def expected_quality(line: tuple[float, float], entropies: Doubles) -> Doubles:
    """[n] quality expected at the ranks of some images' entropies, 0.02..1."""
    return np.clip(line[0] + line[1] * ranks(entropies), LOWEST, HIGHEST)
