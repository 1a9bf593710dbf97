"""The nearest of some vectors by L2 distance: FAISS proposes, on a GPU or on the processor, and differences decide.

FAISS reckons in single precision. On a GPU, and on the processor for many queries (how many depends on its version), it
expands |x - y|² into |x|² + |y|² - 2xy: the distance of a vector to itself is then a little more or less than 0, and
vectors that lie close together, far from the origin, change places. So it only proposes candidates, a few more than
asked for. Their distances are computed from the differences, in double precision. Where rounding, or a tie, could have
kept a vector out that belongs among them, they are sought once more, in double precision. The answer is that of a plain
loop over all vectors, and the same bits wherever the candidates come from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.types import Floats, Ints

Doubles = npt.NDArray[np.float64]

SPARE = 8  # candidates beside those asked for
MOST = 2048  # candidates that FAISS gives at once on a GPU
BLOCK = 32  # queries whose differences from their candidates are held at a time
WORKSPACE = 64 * 2**20  # bytes on a GPU; FAISS would take 1.5 GiB of it from the detectors


class Neighbours:
    """Vectors whose nearest can be asked for.

    Attributes:
        vectors: [n, d] float32, finite.
    """

    def __init__(self, vectors: Floats, gpu: bool = False) -> None:
        """Index vectors.

        Args:
            vectors: [n, d] float32, finite.
            gpu: search on the first GPU if FAISS can use one; the answers are the same.
        """
        self.vectors = vectors
        self._centre = vectors.mean(axis=0, dtype=np.float64)
        centred = self._centred(vectors)  # products of vectors far from the origin round their differences away
        self._longest = float(_lengths(centred).max())
        self._index = flat_index(centred, gpu)

    def search(self, queries: Floats, count: int) -> tuple[Doubles, Ints]:
        """The nearest vectors of each query, nearest first; of equally near ones the first in order.

        Args:
            queries: [q, d] float32, finite.
            count: at least 1; all vectors where there are fewer.

        Returns:
            Distances and row numbers, [q, min(count, n)] each. A distance depends on the two vectors alone, and is
            exactly 0 for equal ones.
        """
        n = len(self.vectors)
        count = min(count, n)
        distances, rows = np.empty((len(queries), count)), np.empty((len(queries), count), np.int64)
        for start in range(0, len(queries), BLOCK):
            block = slice(start, start + BLOCK)
            distances[block], rows[block] = self._search(queries[block], count)
        return distances, rows

    def _search(self, queries: Floats, count: int) -> tuple[Doubles, Ints]:
        wanted = count + SPARE
        if wanted >= min(len(self.vectors), MOST):
            return self._search_all(queries, count)
        centred = self._centred(queries)
        squared, candidates = self._index.search(centred, wanted)
        distances, rows = _nearest(queries, self.vectors[candidates], candidates, count)
        # What is no candidate is by FAISS's reckoning as far as the last of them, or farther.
        unsure = ~(squared[:, -1] - self._error(centred) > distances[:, -1] ** 2)  # true of NaN too: squares overflow
        if unsure.any():
            distances[unsure], rows[unsure] = self._search_all(queries[unsure], count)
        return distances, rows

    def _search_all(self, queries: Floats, count: int) -> tuple[Doubles, Ints]:
        """Without FAISS: what by products of doubles may be among the nearest, is compared by its differences."""
        centred, vectors = queries - self._centre, self.vectors - self._centre
        squared = (centred**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2 * centred @ vectors.T
        last = np.partition(squared, count - 1, axis=1)[:, count - 1] + 2 * self._error(centred)
        found = []
        for query, within in zip(queries, squared <= last[:, None], strict=True):
            rows = within.nonzero()[0]
            found.append(_nearest(query[None], self.vectors[None, rows], rows[None], count))
        return np.concatenate([distances for distances, _ in found]), np.concatenate([rows for _, rows in found])

    def _error(self, centred: npt.NDArray[np.floating]) -> Doubles:
        """[q] how far a squared distance can be off that was computed in the precision of the centred queries.

        A sum of d products is off by at most about d·u·|x||y|, u half a unit in the last place of 1 (Higham 2002,
        section 3.1), hence |x|² + |y|² - 2xy and the sum of squared differences by d·u·(|x| + |y|)². Twice that, and a
        few single roundings, is generous.
        """
        rounding = np.finfo(centred.dtype).eps / 2
        bound: Doubles = 2 * (centred.shape[1] + 8) * rounding * (_lengths(centred) + self._longest) ** 2
        return bound

    def _centred(self, vectors: Floats) -> Floats:
        return (vectors - self._centre).astype(np.float32)


def flat_index(vectors: Floats, gpu: bool = False) -> Any:
    """An exact FAISS index of L2 distance over vectors [n, d].

    Args:
        vectors: float32.
        gpu: put it on the first GPU, if this FAISS is built for GPUs (``faiss-cpu`` is not) and sees one.
    """
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    if not gpu or not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return index
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(WORKSPACE)
    return faiss.index_cpu_to_gpu(resources, 0, index)


def _nearest(queries: Floats, vectors: Floats, rows: Ints, count: int) -> tuple[Doubles, Ints]:
    """Of the vectors [q or 1, k, d] proposed to each query, with their row numbers [q or 1, k], the nearest."""
    distances = _lengths(vectors.astype(np.float64) - queries[:, None])
    rows = np.broadcast_to(rows, distances.shape)
    order = np.lexsort((rows, distances), axis=-1)[:, :count]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _lengths(vectors: npt.NDArray[np.floating]) -> Doubles:
    lengths: Doubles = np.linalg.norm(vectors.astype(np.float64, copy=False), axis=-1)
    return lengths
