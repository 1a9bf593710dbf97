"""freesel: the images whose local patterns are least like those chosen before (FreeSel; Xie et al., NeurIPS 2023).

A backbone that is no part of the detector gives each image K local patterns (:mod:`mgral.detection.local_patterns`).
Again and again a pattern is chosen that is far, by cosine, from all patterns of the images that are labelled or were
picked, and its image is picked. No detector is asked, so it can also draw the first images (``budget.initial_by``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons
from mgral.strategies._features import ZERO, unit

NEEDS: frozenset[str] = frozenset({"patterns"})
REASONS: Reasons = {
    "distance": "1 - cosine of its least alike local pattern to those of images labelled or picked before, 0 to 2",
    "nearest": "id of the image with that pattern's nearest one",
    "start": "with nothing labelled, the first image is drawn at random",
}
FARTHEST = 2.0  # largest distance there is


class Options(Settings):
    """Options of freesel."""

    sampling: Literal["farthest", "probability"] = Field(
        default="farthest",
        description="the next pattern is the farthest, or drawn in proportion to its squared distance as in the code",
    )


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the image of the farthest pattern until ``budget`` are picked; of equally far ones the smallest id.

    Args:
        evidence: ``patterns`` of every image of the pool.
        budget: images wanted.
        seed: draws the first image if nothing is labelled, and the patterns with ``probability``.
        options: see :class:`Options`.

    Returns:
        ``farthest``: scored by the distance; ``probability``: by the place in the order of drawing, -1 for the first.

    Raises:
        MgralError: no patterns, or an image without any.
    """
    ids, labelled = sorted(evidence.pool.unlabelled), evidence.pool.labelled_ids
    patterns = evidence.patterns_of([*ids, *labelled], "strategy freesel")
    generator = random_streams.generator(seed, "freesel", evidence.pool.cycle)
    reach = _Reach(unit(patterns.rows(ids).astype(np.float64)))
    for image, one in zip(labelled, unit(patterns.rows(labelled).astype(np.float64)), strict=True):
        reach.add(one, image)
    picks: list[Pick] = []
    reason: dict[str, float | int | str]
    while len(picks) < min(budget, len(ids)):
        if not picks and not labelled:
            row, reason = int(generator.integers(len(ids))), {"distance": FARTHEST, "start": "random"}
        else:
            row, distance, near = reach.farthest() if options.sampling == "farthest" else reach.drawn(generator)
            reason = {"distance": distance, "nearest": near}
        score = float(reason["distance"]) if options.sampling == "farthest" else -1.0 - len(picks)
        picks.append(Pick(ids[row], score, reason))
        reach.take(row, ids[row])
    return picks


class _Reach:
    """How far each pattern of the candidates [n, K, D] is from its nearest chosen one."""

    def __init__(self, patterns: Doubles) -> None:
        self._patterns = patterns
        self._distances = np.full(patterns.shape[:2], FARTHEST)
        self._nearest = np.zeros(patterns.shape[:2], np.int64)
        self._left = np.ones(len(patterns), np.bool_)

    def add(self, patterns: Doubles, image: int) -> None:
        """Choose the patterns [K, D] of an image."""
        found = 1 - (self._patterns @ patterns.T).max(axis=2)
        found[found < ZERO] = 0.0  # rounding of copies
        nearer = found < self._distances
        self._distances[nearer], self._nearest[nearer] = found[nearer], image

    def take(self, row: int, image: int) -> None:
        """Choose a candidate's patterns; it is none any more."""
        self.add(self._patterns[row], image)
        self._left[row] = False

    def farthest(self) -> tuple[int, float, int]:
        """Row, distance and nearest image of the candidate with the farthest pattern, the first of equals."""
        return self._at(int(np.where(self._left[:, None], self._distances, -1.0).argmax()))

    def drawn(self, generator: np.random.Generator) -> tuple[int, float, int]:
        """The same of a pattern drawn in proportion to its squared distance; the first if all are 0."""
        weights = (np.where(self._left[:, None], self._distances, 0.0) ** 2).ravel()
        if weights.sum() <= 0:
            return self.farthest()
        return self._at(int(generator.choice(len(weights), p=weights / weights.sum())))

    def _at(self, place: int) -> tuple[int, float, int]:
        row, pattern = divmod(place, self._patterns.shape[1])
        return row, float(self._distances[row, pattern]), int(self._nearest[row, pattern])
