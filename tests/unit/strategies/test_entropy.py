"""The images of largest entropy, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Detections
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.entropy import Options, select

LOG2 = math.log(2)
HALF, EVEN = [0, 0.5, 0.5, 0], [0.25, 0.25, 0.25, 0.25]  # entropies log 2, 2 log 2


def softmax(*rows: Sequence[float]) -> Detections:
    """Detections from softmax rows, background first; label and score are those of the likeliest class."""
    probs = np.array(rows, np.float32).reshape(-1, 4)
    labels = probs[:, 1:].argmax(axis=1).astype(np.int64) if rows else np.zeros(0, np.int64)
    scores = probs[:, 1:].max(axis=1, initial=0)
    return Detections(np.zeros((len(rows), 4), np.float32), scores, labels, probs)


def test_selection_takes_the_largest_and_says_why() -> None:
    # image 1: labelled; 2: log 2; 3: log 2 + 2 log 2; 4: nothing; 5: log 2, after 2 by id
    images = {1: softmax(EVEN, EVEN), 2: softmax(HALF), 3: softmax(HALF, EVEN), 4: softmax(), 5: softmax(HALF)}
    pool = Pool(0, {1: 0}, (5, 4, 3, 2))
    evidence = Evidence(pool, ("ant", "bee", "cow"), images, "softmax")
    picks = select(evidence, 4, 0, Options())
    assert [pick.id for pick in picks] == [3, 2, 5, 4]
    assert [pick.score for pick in picks] == pytest.approx([3 * LOG2, LOG2, LOG2, 0])
    assert picks[0].reason == {"entropy": picks[0].score, "detections": 2, "top_class": "ant", "top_score": 0.5}
    assert picks[3].reason == {"entropy": 0.0, "detections": 0, "empty": "zero"}


def test_selection_needs_detections() -> None:
    with pytest.raises(MgralError, match="needs detections"):
        select(Evidence(Pool(0, {}, (1,)), ("ant",)), 1, 0, Options())
