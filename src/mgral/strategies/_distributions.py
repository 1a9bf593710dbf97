"""The class probabilities of detections as distributions, whatever the detector's activation."""

from __future__ import annotations

import numpy as np

from mgral.core.types import Activation, Doubles


def class_distributions(probs: Doubles, activation: Activation) -> Doubles:
    """[n, K] probabilities of detections to distributions [n, C + 1], background first.

    The classes of a sigmoid detector are no distribution. With 1 - max p for the background they are divided by their
    sum; with one class that is the Bernoulli distribution (1 - p, p). A choice of ours [R].
    """
    probs = np.clip(probs, 0, 1)
    if activation == "sigmoid":
        probs = np.hstack([1 - probs.max(axis=1, keepdims=True, initial=0), probs])
    normalised: Doubles = probs / probs.sum(axis=1, keepdims=True)
    return normalised
