"""coreset: the images farthest from everything labelled, by greedy k-center (Sener & Savarese 2018, algorithm 1).

Again and again the unlabelled image farthest, in Euclidean distance between embeddings, from its nearest labelled
or already picked image is picked. Of the distances only each image's smallest is kept: memory O(N·d), where the
N × N matrix of 118,000 images would take 55 GB in float32.

With nothing labelled the image nearest the mean embedding comes first. Its score, which has to be finite and no
smaller than those that follow, is the distance to the image farthest from it.
"""

from __future__ import annotations

import numpy as np

from mgral.config.base import Settings
from mgral.core.types import Doubles, Floats, Ints, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"embeddings"})
REASONS: Reasons = {
    "distance": "between embeddings, to the nearest image that is labelled or was picked before",
    "nearest": "id of that image",
    "start": "with nothing labelled, the image nearest the mean goes first; its distance is to the farthest image",
}

ROWS = 4096  # images, and
CENTRES = 256  # centres compared at a time: a block of distances is 4 MiB in float32


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
        row = int(np.argmax(cover.squares))  # the first of equals: the smallest id
        reason = {"distance": cover.radius, "nearest": int(cover.nearest[row])}
        picks.append(Pick(ids[row], cover.radius, reason))
        cover.take(row, ids[row])
    return picks


class Cover:
    """How far every image is from its nearest centre.

    Attributes:
        squares: [N] squared distances, float64; infinite before the first centre, -1 for images that are centres.
        nearest: [N] ids of the nearest centres; of equally near ones, the one added first.
    """

    def __init__(self, vectors: Floats) -> None:
        """No centre yet; ``vectors`` [N, d] are those of the images."""
        self.squares: Doubles = np.full(len(vectors), np.inf)
        self.nearest: Ints = np.zeros(len(vectors), np.int64)
        self._vectors = vectors
        self._lengths = _squared_lengths(vectors)

    @property
    def radius(self) -> float:
        """Distance of the image that is farthest from its nearest centre; 0 if all are centres."""
        return float(np.sqrt(max(self.squares.max(), 0.0)))

    def take(self, row: int, image_id: int) -> None:
        """Make an image a centre."""
        self.squares[row] = -1
        self.add(self._vectors[row : row + 1], np.array([image_id]))

    def add(self, centres: Floats, ids: Ints) -> None:
        """Bring the distances up to date with more centres.

        |x|² - 2x·c + |c|² is one fast product, but it rounds: copies of an image would come out at slightly
        different distances, and ties, hence picks, would depend on the processor. So the product only rules out
        the centres that cannot be nearer, by a bound on its rounding error; the few others are compared by their
        differences, in float64.

        Args:
            centres: [M, d].
            ids: [M]; of equally near centres the first counts.
        """
        for low in range(0, len(self._vectors), ROWS):
            for first in range(0, len(centres), CENTRES):
                self._compare(slice(low, low + ROWS), centres[first : first + CENTRES], ids[first : first + CENTRES])

    def _compare(self, rows: slice, centres: Floats, ids: Ints) -> None:
        """One block of :meth:`add`: n rows, m centres."""
        block, squares, nearest = self._vectors[rows], self.squares[rows], self.nearest[rows]  # views
        lengths = self._lengths[rows, None] + _squared_lengths(centres)  # [n, m], |x|² + |c|²
        rough = lengths - 2 * (block @ centres.T)
        # A float32 sum of d products is off by at most about d·u·|x||c|, u = 2^-24 (Higham 2002, section 3.1), and
        # 2|x||c| <= |x|² + |c|². Three such sums and a few single roundings: 8·(d + 8)·u·(|x|² + |c|²) is generous.
        error = np.float32(8 * (block.shape[1] + 8) * 2.0**-24) * lengths
        lowest, highest = np.maximum(rough - error, 0), rough + error
        possible = (lowest < squares[:, None]) & (lowest <= highest.min(axis=1, keepdims=True))
        for some in np.array_split(np.argwhere(possible), possible.sum() // ROWS + 1):
            image, centre = some.T
            exact = ((block[image].astype(np.float64) - centres[centre]) ** 2).sum(axis=1)
            order = np.lexsort((centre, exact, image))  # of each image first its nearest centre
            image, at = np.unique(image[order], return_index=True)
            exact, centre = exact[order][at], centre[order][at]
            nearer = exact < squares[image]
            squares[image[nearer]] = exact[nearer]
            nearest[image[nearer]] = ids[centre[nearer]]


def _squared_lengths(vectors: Floats) -> Floats:
    lengths: Floats = np.einsum("nd,nd->n", vectors, vectors)
    return lengths


def _most_central(vectors: Floats) -> int:
    """The row nearest the mean, the first of equals."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    blocks = range(0, len(vectors), ROWS)
    squares = [((vectors[low : low + ROWS].astype(np.float64) - mean) ** 2).sum(axis=1) for low in blocks]
    return int(np.argmin(np.concatenate(squares)))
