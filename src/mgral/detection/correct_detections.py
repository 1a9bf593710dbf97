"""Which detections are right: each is matched to the box of its own class that it overlaps most, best score first.

A match needs IoU >= 0.5, and each box is matched once. A detection on a box to ignore is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mgral.core import boxes as geometry
from mgral.core.types import Bools, Boxes, Detections

IOU = 0.5
CONFIDENT = 0.3  # score from which a detection is confident


def matched(truth: Boxes, found: Detections) -> tuple[Bools, Bools]:
    """Of each detection of an image, whether it is right, and whether it counts at all: [n] and [n] bool."""
    overlaps = geometry.iou(found.xyxy, truth.xyxy)  # [detections, boxes]
    free = np.ones(len(truth), np.bool_)
    right, counts = np.zeros(len(found), np.bool_), np.ones(len(found), np.bool_)
    for row in np.argsort(-found.scores, kind="stable"):
        possible = np.flatnonzero(free & (truth.labels == found.labels[row]) & (overlaps[row] >= IOU))
        if not len(possible):
            continue
        best = possible[np.argmax(overlaps[row, possible])]
        if truth.ignore[best]:
            counts[row] = False
        else:
            free[best], right[row] = False, True
    return right, counts


def confident(truth: Mapping[int, Boxes], found: Mapping[int, Detections], ids: Iterable[int]) -> tuple[int, int]:
    """Detections of some images with a score of at least ``CONFIDENT``, and how many of them are right.

    Args:
        truth: ground truth of the images.
        found: detections by image.
        ids: the images.
    """
    count = true = 0
    for i in ids:
        right, counts = matched(truth[i], found[i])
        some = counts & (found[i].scores >= CONFIDENT)
        count += int(some.sum())
        true += int((some & right).sum())
    return count, true
