"""From the evidence for boxes to the uncertainty of an image (HUA; Park et al., ICLR 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, entr

from mgral.core.types import Doubles, Ints

EPSILON = 1e-7  # added to a predicted loss before it divides


@dataclass(frozen=True)
class ObjectBoxes:
    """The boxes of an image that belong to its detected objects; one that belongs to two is there twice.

    Attributes:
        objects: [n] number of the object.
        levels: [n] level of the pyramid that the box comes from.
        labels: [n] likeliest class of the box.
        distributions: [n, K] its class probabilities; rows sum to 1.
        losses: [n] its predicted loss, >= 0.
    """

    objects: Ints
    levels: Ints
    labels: Ints
    distributions: Doubles
    losses: Doubles


def image_uncertainty(boxes: ObjectBoxes, scale: float) -> tuple[float, int]:
    """Uncertainty of an image, in nats, and of how many objects; 0 and 0 without any.

    Args:
        boxes: of its objects.
        scale: evidence of a box whose predicted loss is the mean of its level.
    """
    each = epistemic(boxes.distributions, evidence(boxes.losses, boxes.levels, scale))
    groups, group = _distinct(np.stack([boxes.objects, boxes.levels, boxes.labels], axis=1))
    means = _sums(each, group, len(groups)) / np.bincount(group, minlength=len(groups))
    at_level, level = _distinct(groups[:, :2])
    of_object, which = _distinct(at_level[:, :1])
    largest = np.zeros(len(of_object))
    np.maximum.at(largest, which, _sums(means, level, len(at_level)))
    return float(largest.sum()), len(of_object)


def evidence(losses: Doubles, levels: Ints, scale: float) -> Doubles:
    """[n] λ: ``scale`` times the mean predicted loss of a box's level, over its own."""
    kinds, level = np.unique(levels, return_inverse=True)
    means = _sums(losses, level, len(kinds)) / np.bincount(level, minlength=len(kinds))
    found: Doubles = scale * means[level] / (losses + EPSILON)
    return found


def epistemic(distributions: Doubles, evidence: Doubles) -> Doubles:
    """[n] mutual information of class and probabilities under Dirichlet(λ p), in nats, >= 0.

    H(p) - E[H(q)], q ~ Dirichlet(α), S = Σ α: H(p) + Σ p_k (ψ(α_k + 1) - ψ(S + 1)).

    Args:
        distributions: [n, K] p.
        evidence: [n] λ.
    """
    alphas = distributions * evidence[:, None]
    inner = digamma(alphas + 1) - digamma(evidence + 1)[:, None]
    found: Doubles = entr(distributions).sum(axis=1) + (distributions * inner).sum(axis=1)
    return np.maximum(found, 0.0)


def _distinct(rows: Ints) -> tuple[Ints, Ints]:
    """The distinct rows of [n, k], and [n] which of them each is."""
    found, which = np.unique(rows, axis=0, return_inverse=True)
    return found, which.reshape(-1)


def _sums(values: Doubles, of: Ints, count: int) -> Doubles:
    found: Doubles = np.bincount(of, weights=values, minlength=count).astype(np.float64)
    return found
