"""What tests of the lookup table share: images on a line, what is seen in them, records, parameters."""

from __future__ import annotations

import numpy as np

from mgral.config.schema import Table
from mgral.core.types import Detections, Embeddings, Record


def line(*places: float) -> Embeddings:
    """Images 1, 2, … at these places of a line in the plane."""
    vectors = np.array([[x, 0] for x in places], np.float32)
    return Embeddings(np.arange(1, len(places) + 1), vectors)


def params(
    neighbours: int = 2, deviations: float = 1.0, representation: str = "embedding", surrogate: str = "nearest"
) -> Table:
    given = {
        "representation": representation,
        "centroids": 4,
        "surrogate": surrogate,
        "neighbours": neighbours,
        "threshold_deviations": deviations,
        "far_uncertainty": 0.9,
    }
    return Table.parse(given, "table")


def record(ids: tuple[int, ...], value: float, generator: str = "random") -> Record:
    return Record(ids, generator, value, 1.5)


def detections(*labels: int, score: float = 0.5) -> Detections:
    """Of two classes, by a detector with a softmax: background comes first."""
    count = len(labels)
    probs = np.zeros((count, 3), np.float32)
    return Detections(
        np.zeros((count, 4), np.float32), np.full(count, score, np.float32), np.array(labels, np.int64), probs
    )
