"""What tests of the price share: pools of images at points of a line, and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mgral.reward.bayes import Weights
from mgral.reward.growth import COVERED, FEATURES, PLAIN, World


def world(places: Sequence[float], expected: Sequence[Sequence[float]], **other: Any) -> World:
    """Images 1, 2, … at points of a line, σ = 1, nothing labelled; image scores are 1."""
    count = len(places)
    given = {
        "ids": np.arange(1, count + 1),
        "expected": np.array(expected, np.float64).reshape(count, -1),
        "competence": np.ones(np.shape(expected)[1]),
        "boxes": np.zeros(np.shape(expected)[1]),
        "scores": np.ones((count, len(COVERED + PLAIN))),
        "squares": np.full(count, np.inf),
        "scale": 1.0,
        "labelled": 0,
        "vectors": np.array(places, np.float32)[:, None],
    }
    return World(**given | other)


def scattered(count: int = 40, classes: int = 3, seed: int = 0) -> World:
    """A pool at random."""
    rng = np.random.default_rng(seed)
    return world(
        np.zeros(count).tolist(),
        rng.gamma(1.0, size=(count, classes)).tolist(),
        boxes=rng.integers(0, 9, classes).astype(np.float64),
        competence=rng.random(classes),
        scores=rng.random((count, len(COVERED + PLAIN))),
        squares=rng.gamma(2.0, size=count),
        labelled=7,
        vectors=rng.normal(size=(count, 4)).astype(np.float32),
    )


def weights(classes: int, **of: float) -> Weights:
    """Weights by the names of numbers, blanks as ``_``; each has a standard deviation of 0.1."""
    mean = np.array([of.get(name.replace(" ", "_"), 0.0) for name in FEATURES])
    return Weights(mean, 0.01 * np.eye(len(FEATURES)), np.ones(classes, np.bool_))
