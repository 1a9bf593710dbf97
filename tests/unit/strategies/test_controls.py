"""The two controls: crowds, and rare classes by ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Detections
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies import most_boxes, oracle_rare


def scored(*scores: float, labels: Sequence[int] | None = None) -> Detections:
    n = len(scores)
    given = np.array(labels if labels is not None else [0] * n, np.int64)
    return Detections(np.zeros((n, 4), np.float32), np.array(scores, np.float32), given, np.zeros((n, 3), np.float32))


def boxes(*labels: int, ignore: Sequence[int] = ()) -> Boxes:
    """Boxes of these classes; ``ignore`` are positions."""
    ignored = np.isin(np.arange(len(labels)), ignore)
    return Boxes(np.zeros((len(labels), 4), np.float32), np.array(labels, np.int64), ignored)


def test_most_boxes_counts_what_is_sure_enough() -> None:
    # at 0.5: image 1 has one detection, 2 two (the 0.5 counts), 3 none, 4 two of two classes; 2 before 4 by id
    detections = {1: scored(0.9, 0.4, 0.4), 2: scored(0.6, 0.5), 3: scored(), 4: scored(0.7, 0.6, labels=[1, 0])}
    given = Evidence(Pool(0, {}, (4, 3, 2, 1)), ("ant", "bee"), detections, "softmax")
    picks = most_boxes.select(given, 4, 0, most_boxes.Options(min_score=0.5))
    assert [(pick.id, pick.score) for pick in picks] == [(2, 2), (4, 2), (1, 1), (3, 0)]
    assert picks[1].reason == {"boxes": 2, "classes": 2}
    # at 0.4 image 1 has three
    assert most_boxes.select(given, 1, 0, most_boxes.Options(min_score=0.4))[0].id == 1


def test_oracle_rare_counts_the_boxes_of_rare_classes() -> None:
    # boxes in the pool: class 0: 2 + 3 = 5, class 1: 2 + 1 = 3, class 2: 1 + 1 = 2 (one more is ignored).
    # Rarest half of three classes: ⌈1.5⌉ = 2, classes 2 and 1. Image 2: none, 3: 2 + 1 = 3, 4: 1 and an ignored one.
    truth = {1: boxes(0, 0, 2), 2: boxes(0, 0, 0), 3: boxes(1, 1, 2), 4: boxes(1, 2, ignore=[1])}
    given = Evidence(Pool(0, {1: 0}, (2, 3, 4)), ("ant", "bee", "cow"), truth=truth)
    picks = oracle_rare.select(given, 3, 0, oracle_rare.Options())
    assert [(pick.id, pick.score) for pick in picks] == [(3, 3), (4, 1), (2, 0)]
    assert picks[0].reason == {"cheats": "reads the ground truth", "rare_boxes": 3, "boxes": 3}
    # a third: class 2 alone, in image 3 only
    picks = oracle_rare.select(given, 3, 0, oracle_rare.Options(share=1 / 3))
    assert [(pick.id, pick.score) for pick in picks] == [(3, 1), (2, 0), (4, 0)]


def test_what_is_missing_is_named() -> None:
    given = Evidence(Pool(0, {}, (7,)), ("ant",))
    with pytest.raises(MgralError, match="most_boxes: needs detections"):
        most_boxes.select(given, 1, 0, most_boxes.Options())
    with pytest.raises(MgralError, match=r"^image 7 has no detections entry"):
        most_boxes.select(replace(given, detections={}), 1, 0, most_boxes.Options())
    with pytest.raises(MgralError, match="oracle_rare: needs the ground truth"):
        oracle_rare.select(given, 1, 0, oracle_rare.Options())
    with pytest.raises(MgralError, match=r"^image 7 has no annotation"):
        oracle_rare.select(replace(given, truth={}), 1, 0, oracle_rare.Options())
