"""Which detections are right, on one image by hand."""

from __future__ import annotations

import numpy as np

from mgral.core.types import Boxes, Detections
from mgral.detection.correct_detections import confident, matched


def found(*rows: tuple[float, float, int]) -> Detections:
    """Detections at (x, 0, x + 10, 10) with a score and a class."""
    xyxy = np.array([[x, 0, x + 10, 10] for x, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    labels = np.array([label for _, _, label in rows], np.int64)
    return Detections(xyxy, scores, labels, np.zeros((len(rows), 0), np.float32))


def truth(*rows: tuple[float, int, bool]) -> Boxes:
    """Boxes at (x, 0, x + 10, 10) with a class, to ignore or not."""
    xyxy = np.array([[x, 0, x + 10, 10] for x, _, _ in rows], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label, _ in rows], np.int64)
    return Boxes(xyxy, labels, np.array([ignore for _, _, ignore in rows], np.bool_))


def test_each_box_is_matched_once_by_the_best_score_of_its_class() -> None:
    # At 0 a box of class 0, at 100 one of class 1; 2 pixels off is IoU 2/3, 4 pixels off 3/7.
    boxes = truth((0, 0, False), (100, 1, False))
    given = found((2, 0.9, 0), (0, 0.8, 0), (100, 0.7, 0), (104, 0.6, 1), (102, 0.5, 1))
    right, counts = matched(boxes, given)
    assert right.tolist() == [True, False, False, False, True]
    assert counts.all()


def test_a_box_to_ignore_makes_detections_neither_right_nor_wrong() -> None:
    right, counts = matched(truth((0, 0, True)), found((0, 0.9, 0), (1, 0.8, 0), (50, 0.7, 0)))
    assert not right.any()
    assert counts.tolist() == [False, False, True]


def test_confident_detections_are_counted_over_images() -> None:
    boxes = {1: truth((0, 0, False)), 2: truth((0, 0, True)), 3: truth(), 4: truth((0, 1, False))}
    seen = {
        1: found((0, 0.9, 0), (0, 0.29, 0)),  # right; below the score
        2: found((0, 0.9, 0)),  # on a box to ignore
        3: found((0, 0.3000001, 0)),  # wrong
        4: found((0, 0.9, 1)),  # of an image that is not asked for
    }
    assert confident(boxes, seen, [1, 2, 3]) == (2, 1)
    assert confident(boxes, seen, []) == (0, 0)
