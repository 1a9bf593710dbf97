"""entropy: the images about whose detections the detector is least sure.

Image score = sum, mean or maximum over its detections of their entropy. The sum favours crowded images of
redundant classes, the mean blurred ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import entr

from mgral.errors import MgralError
from mgral.settings import Settings
from mgral.strategies import Evidence, Reasons
from mgral.types import Activation, Detections, Doubles, Pick

NEEDS: frozenset[str] = frozenset({"detections"})
REASONS: Reasons = {
    "entropy": "of the image's detections together, in nats unless normalised; the larger, the less sure the detector",
    "detections": "how many were counted",
    "top_class": "class of the surest detection",
    "top_score": "score of the surest detection, 0 to 1",
    "empty": "nothing was detected: zero ranks such an image last, highest first",
}


class Options(Settings):
    """Options of entropy."""

    aggregate: Literal["sum", "mean", "max"] = Field(default="sum", description="over an image's detections")
    per_detection: Literal["auto", "softmax", "binary"] = Field(
        default="auto",
        description="softmax: -sum p log p over background and classes; binary: of the top score; "
        "auto: whichever fits the detector",
    )
    normalise: bool = Field(
        default=False, description="divide by the largest value there is: log(C+1), or log 2 for binary"
    )
    min_score: float = Field(
        default=0.01, ge=0, le=1, description="detections below are left out; a common variant: 0.5"
    )
    empty: Literal["zero", "highest"] = Field(
        default="zero", description="image without detection: zero, or as high as the pool's highest"
    )


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of largest entropy, equal ones by id.

    Args:
        evidence: ``detections`` of every unlabelled image, and their ``activation``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no detections, or ``per_detection`` does not fit the detector.
    """
    if evidence.detections is None or evidence.activation is None:
        raise MgralError("strategy entropy: needs detections; give --detections, made by `mgral embed`")
    ids = sorted(evidence.pool.unlabelled)
    scores = pool_entropies(ids, evidence.detections, options, evidence.activation)
    order = np.argsort(-scores, kind="stable")[:budget]
    picks = []
    for row in order:
        score, kept = float(scores[row]), _kept(evidence.detections[ids[row]], options)
        picks.append(Pick(ids[row], score, _reason(score, kept, evidence.classes, options)))
    return picks


def pool_entropies(
    ids: Iterable[int], detections: Mapping[int, Detections], options: Options, activation: Activation
) -> Doubles:
    """Entropy of many images, with the ``empty`` policy applied.

    Args:
        ids: N images.
        detections: by image id.
        options: see :class:`Options`.
        activation: of the detector.

    Returns:
        [N] float64, finite, >= 0, in the order of ``ids``; in nats, or multiples of the largest entropy that
            one detection can have if normalised.

    Raises:
        MgralError: an image has no entry or one that is not finite, or ``per_detection`` does not fit the
            detector.
    """
    values: list[float | None] = []
    for i in ids:
        if i not in detections:
            raise MgralError(f"image {i} has no detections entry; make detections.npz anew with `mgral embed`")
        value = image_entropy(detections[i], options, activation)
        if value is not None and not math.isfinite(value):
            raise MgralError(f"image {i} has class probabilities that are not finite; train the detector anew")
        values.append(value)
    highest = max((value for value in values if value is not None), default=0.0)
    empty = highest if options.empty == "highest" else 0.0
    return np.array([empty if value is None else value for value in values], np.float64)


def image_entropy(detections: Detections, options: Options, activation: Activation) -> float | None:
    """Entropy of one image's detections of at least ``min_score``; None if there is none.

    Args:
        detections: of the image.
        options: see :class:`Options`; the ``empty`` policy is the caller's.
        activation: of the detector.

    Raises:
        MgralError: softmax entropy asked of a sigmoid detector.
    """
    entropies = detection_entropies(_kept(detections, options), options, activation)
    if not len(entropies):
        return None
    if options.aggregate == "sum":
        return float(entropies.sum())
    return float(entropies.mean() if options.aggregate == "mean" else entropies.max())


def detection_entropies(detections: Detections, options: Options, activation: Activation) -> Doubles:
    """[n] entropy of each detection, in nats, or in 0..1 if normalised.

    Softmax over K = C + 1 probabilities: H = -Σ p log p, at most log K. Binary, p the top score:
    H = -p log p - (1 - p) log(1 - p), at most log 2. The probabilities of a sigmoid detector do not sum to 1:
    each class is a question of its own, so only the second is an entropy there.

    Raises:
        MgralError: softmax entropy asked of a sigmoid detector.
    """
    if options.per_detection == "softmax" and activation == "sigmoid":
        raise MgralError(
            "strategy entropy: options.per_detection is softmax, but the detector's classes are sigmoid; "
            "set it to binary or auto"
        )
    if activation == "softmax" and options.per_detection != "binary":
        probs = np.clip(detections.probs.astype(np.float64), 0, 1)
        entropy, largest = entr(probs).sum(axis=1), np.log(probs.shape[1])
    else:
        top = np.clip(detections.scores.astype(np.float64), 0, 1)
        entropy, largest = entr(top) + entr(1 - top), np.log(2)
    return entropy / largest if options.normalise else entropy


def _kept(detections: Detections, options: Options) -> Detections:
    rows = detections.scores >= options.min_score
    return Detections(detections.xyxy[rows], detections.scores[rows], detections.labels[rows], detections.probs[rows])


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
