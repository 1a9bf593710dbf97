"""How unsure a detector is: entropies of detections, of images and of a pool."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.types import Activation, Detections, Doubles

Aggregate = Literal["sum", "mean", "max"]
PerDetection = Literal["auto", "softmax", "binary"]
Empty = Literal["zero", "highest"]
MIN_SCORE = 0.01  # detections below say little of the image


def pool_entropies(
    ids: Iterable[int],
    detections: Mapping[int, Detections],
    activation: Activation,
    *,
    aggregate: Aggregate = "sum",
    per_detection: PerDetection = "auto",
    normalise: bool = False,
    min_score: float = MIN_SCORE,
    empty: Empty = "zero",
) -> Doubles:
    """Entropy of many images.

    Args:
        ids: N images.
        detections: by image id.
        activation: of the detector.
        aggregate: over an image's detections.
        per_detection: see :func:`detection_entropies`.
        normalise: divide by the largest entropy that one detection can have.
        min_score: detections below are left out, 0..1.
        empty: what an image without detection counts as: zero, or as much as the pool's highest.

    Returns:
        [N] float64, finite, >= 0, in the order of ``ids``; in nats, or in multiples of the largest entropy that
            one detection can have if normalised.

    Raises:
        MgralError: an image has no entry or one that is not finite, or ``per_detection`` does not fit the
            detector.
    """
    values: list[float | None] = []
    for i in ids:
        if i not in detections:
            raise MgralError(f"image {i} has no detections entry; make detections.npz again with `mgral embed`")
        kept = confident(detections[i], min_score)
        value = image_entropy(kept, activation, aggregate=aggregate, per_detection=per_detection, normalise=normalise)
        if value is not None and not math.isfinite(value):
            raise MgralError(f"image {i} has class probabilities that are not finite; train the detector again")
        values.append(value)
    highest = max((value for value in values if value is not None), default=0.0)
    nothing = highest if empty == "highest" else 0.0
    return np.array([nothing if value is None else value for value in values], np.float64)


def image_entropy(
    detections: Detections,
    activation: Activation,
    *,
    aggregate: Aggregate = "sum",
    per_detection: PerDetection = "auto",
    normalise: bool = False,
) -> float | None:
    """Entropy of one image's detections; None if it has none.

    Raises:
        MgralError: softmax entropy asked of a sigmoid detector.
    """
    entropies = detection_entropies(detections, activation, per_detection=per_detection, normalise=normalise)
    return aggregated(entropies, aggregate) if len(entropies) else None


def aggregated(values: Doubles, aggregate: Aggregate) -> float:
    """Sum, mean or maximum of the uncertainties of an image's detections [n], n >= 1."""
    if aggregate == "sum":
        return float(values.sum())
    return float(values.mean() if aggregate == "mean" else values.max())


def detection_entropies(
    detections: Detections, activation: Activation, *, per_detection: PerDetection = "auto", normalise: bool = False
) -> Doubles:
    """[n] entropy of each detection, in nats, or in 0..1 if normalised.

    Softmax over K = C + 1 probabilities: H = -Σ p log p, at most log K. Binary, p the top score:
    H = -p log p - (1 - p) log(1 - p), at most log 2. The probabilities of a sigmoid detector do not sum to 1:
    each class is a question of its own, so only the second is an entropy there.

    Raises:
        MgralError: softmax entropy asked of a sigmoid detector.
    """
    from scipy.special import entr

    if per_detection == "softmax" and activation == "sigmoid":
        raise MgralError(
            "strategy entropy: options.per_detection is softmax, but the detector's classes are sigmoid; "
            "set it to binary or auto"
        )
    if activation == "softmax" and per_detection != "binary":
        probs = np.clip(detections.probs.astype(np.float64), 0, 1)
        entropy, largest = entr(probs).sum(axis=1), np.log(probs.shape[1])
    else:
        top = np.clip(detections.scores.astype(np.float64), 0, 1)
        entropy, largest = entr(top) + entr(1 - top), np.log(2)
    scaled: Doubles = entropy / largest if normalise else entropy
    return scaled


def confident(detections: Detections, min_score: float) -> Detections:
    """Those of at least a score, without features."""
    rows = detections.scores >= min_score
    return Detections(detections.xyxy[rows], detections.scores[rows], detections.labels[rows], detections.probs[rows])
