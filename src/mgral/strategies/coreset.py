"""coreset: the images farthest from everything labelled, by greedy k-center (Sener & Savarese 2018, algorithm 1).

Again and again the unlabelled image farthest, in Euclidean distance between embeddings, from its nearest labelled
or already picked image is picked (:mod:`mgral.core.k_center`). Of the distances only each image's smallest is kept:
memory O(N·d), where the N × N matrix of 118,000 images would take 55 GB in float32.

With nothing labelled the image nearest the mean embedding comes first. Its score, which has to be finite and no
smaller than those that follow, is the distance to the image farthest from it.
"""

from __future__ import annotations

import numpy as np

from mgral.config.base import Settings
from mgral.core.k_center import Cover
from mgral.core.types import Floats, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"embeddings"})
REASONS: Reasons = {
    "distance": "between embeddings, to the nearest image that is labelled or was picked before",
    "nearest": "id of that image",
    "start": "with nothing labelled, the image nearest the mean goes first; its distance is to the farthest image",
}

ROWS = 4096  # images compared with the mean at a time


class Options(Settings):
    """coreset has none."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the farthest image until ``budget`` are picked; of equally far ones the smallest id.

    Score: distance to the nearest labelled or earlier picked image, whose id is the reason ``nearest``.

    Args:
        evidence: ``embeddings`` of every image of the pool.
        budget: images wanted.
        seed: unused, nothing is random.
        options: none.

    Raises:
        MgralError: no embeddings, or an image without one.
    """
    ids, labelled = sorted(evidence.pool.unlabelled), evidence.pool.labelled_ids
    vectors = evidence.embeddings_of(ids, "strategy coreset")
    if not ids or budget < 1:
        return []
    cover = Cover(vectors)
    picks: list[Pick] = []
    if labelled:
        cover.add(evidence.embeddings_of(labelled, "strategy coreset"), np.asarray(labelled))
    else:
        row = _most_central(vectors)
        cover.take(row, ids[row])
        picks.append(Pick(ids[row], cover.radius, {"distance": cover.radius, "start": "nearest the mean"}))
    while len(picks) < min(budget, len(ids)):
        row = cover.farthest()  # of equals the smallest row, hence the smallest id
        distance = cover.radius
        picks.append(Pick(ids[row], distance, {"distance": distance, "nearest": int(cover.nearest[row])}))
        cover.take(row, ids[row])
    return picks


def _most_central(vectors: Floats) -> int:
    """The row nearest the mean, the first of equals."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    blocks = range(0, len(vectors), ROWS)
    squares = [((vectors[low : low + ROWS].astype(np.float64) - mean) ** 2).sum(axis=1) for low in blocks]
    return int(np.argmin(np.concatenate(squares)))
