"""oracle_rare: the images with the most objects of rare classes. It cheats: it reads the ground truth.

For simulations only, as a control: in a real project nobody knows these boxes before the images are annotated. It shows
how much a metric that is a mean over classes gives to whoever finds the rare ones; a strategy that comes near this one
without the ground truth has found them too.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Boxes, Ints, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"truth"})
REASONS: Reasons = {
    "cheats": "what it reads; nobody could before the image is annotated",
    "rare_boxes": "annotated boxes of the rare classes; the most are picked",
    "boxes": "annotated boxes of all classes",
}


class Options(Settings):
    """Options of oracle_rare."""

    share: float = Field(default=0.5, gt=0, le=1, description="of the classes, rarest first, that count as rare")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of most rare-class boxes, equal ones by id; the count is the score.

    Rare are the ⌈share · C⌉ classes of fewest boxes in the whole pool, labelled or not, equal ones by index. Boxes to
    ignore (crowds, difficult objects) do not count.

    Args:
        evidence: ``truth`` of every image of the pool.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no ground truth, or an image without any: the data set is no simulation.
    """
    count = len(evidence.classes)
    ids = [*evidence.pool.labelled_ids, *evidence.pool.unlabelled]
    truth = evidence.truth_of(ids, "strategy oracle_rare")
    boxes = {i: _boxes(truth[i], count) for i in ids}
    totals = sum(boxes.values(), np.zeros(count, np.int64))
    rare = np.argsort(totals, kind="stable")[: math.ceil(options.share * count)]
    picks = []
    for i in evidence.pool.unlabelled:
        found = int(boxes[i][rare].sum())
        total = int(boxes[i].sum())
        picks.append(Pick(i, float(found), {"cheats": "reads the ground truth", "rare_boxes": found, "boxes": total}))
    return sorted(picks, key=lambda pick: (-pick.score, pick.id))[:budget]


def _boxes(truth: Boxes, classes: int) -> Ints:
    """[C] boxes of an image by class."""
    return np.bincount(truth.labels[~truth.ignore], minlength=classes)
