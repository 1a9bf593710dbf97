"""The nearest of some vectors by L2 distance: FAISS ranks them, on a GPU or on the processor, and differences decide.

FAISS reckons in single precision. On a GPU, and on the processor for many queries (how many depends on its version), it
expands |x - y|² into |x|² + |y|² - 2xy: a vector is then not quite at 0 from itself, and what lies close together
changes places. So whatever it ranks within a hair of the last one wanted is a candidate; candidates are compared by
their differences, in double precision. Queries are put to it one by one: no answer depends on what else is asked, and
the candidates of one query, seldom many more than are wanted and never more than all vectors, are all that is held.

The hair is fifty times the worst rounding that was measured, which is no proof.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mgral.core.types import Doubles, Floats, Ints

HAIR = 1e-3  # of the farthest squared distance; by products FAISS was off by 2e-5 of it in 117,000 dimensions
MOST = 2048  # vectors that FAISS can rank on a GPU; more are left to the processor
WORKSPACE = 64 * 2**20  # bytes on a GPU; FAISS would take 1.5 GiB of it from the detectors


class Neighbours:
    """Vectors [n, d], float32 and finite, whose nearest can be asked for."""

    def __init__(self, vectors: Floats, gpu: bool = False) -> None:
        """Index vectors; ``gpu``: rank them on the first GPU if FAISS can use one, to the same answers."""
        self.vectors = vectors
        self._centre = vectors.mean(axis=0, dtype=np.float64)  # far from the origin, products round differences away
        self._scale = float(np.abs(vectors - self._centre).max()) or 1.0  # else squares could overflow
        self._index = flat_index(self._scaled(vectors), gpu and len(vectors) <= MOST)

    def search(self, queries: Floats, count: int) -> tuple[Doubles, Ints]:
        """The nearest vectors of each query, nearest first; of equally near ones the first in order.

        Args:
            queries: [q, d] float32, finite.
            count: at least 1; all vectors where there are fewer.

        Returns:
            Distances and row numbers, [q, min(count, n)] each. A distance depends on the two vectors alone, and is
            exactly 0 for equal ones.
        """
        count = min(count, len(self.vectors))
        distances, rows = np.empty((len(queries), count)), np.empty((len(queries), count), np.int64)
        for k, query in enumerate(queries):
            exact, nearest = self._candidates(query, count)
            distances[k], rows[k] = exact[:count], nearest[:count]
        return distances, rows

    def search_with_ties(self, queries: Floats, count: int) -> tuple[Doubles, Ints]:
        """As :meth:`search`, with every vector that is exactly as near as the last one wanted.

        Index vectors have few different distances. Without the ties the order of the vectors, thus that of the image
        ids, would decide which of many equally near ones count.

        Returns:
            Distances and row numbers, [q, w] each, w the most that any query has; rows that have fewer are filled up
                with infinite distances and row 0.
        """
        count = min(count, len(self.vectors))
        found = [self._candidates(query, count) for query in queries]
        found = [(exact[near], rows[near]) for exact, rows in found for near in [exact <= exact[count - 1]]]
        shape = len(found), max((len(rows) for _, rows in found), default=0)
        distances, padded = np.full(shape, np.inf), np.zeros(shape, np.int64)
        for k, (exact, rows) in enumerate(found):
            distances[k, : len(rows)], padded[k, : len(rows)] = exact, rows
        return distances, padded

    def _candidates(self, query: Floats, count: int) -> tuple[Doubles, Ints]:
        """Exact distances and rows of ``count`` vectors or more, nearest first: all ties of the last are there."""
        (squared,), (ranked,) = self._index.search(self._scaled(query[None]), len(self.vectors))
        candidates = np.sort(ranked[squared <= squared[count - 1] + HAIR * squared[-1]])
        exact = np.linalg.norm(self.vectors[candidates] - query.astype(np.float64), axis=1)
        order = exact.argsort(kind="stable")
        return exact[order], candidates[order]

    def _scaled(self, vectors: Floats) -> Floats:
        scaled: Floats = ((vectors - self._centre) / self._scale).astype(np.float32)
        return scaled


def flat_index(vectors: Floats, gpu: bool = False) -> Any:
    """An exact FAISS index of L2 distance over vectors [n, d], float32.

    With ``gpu`` it lies on the first GPU, if this FAISS is built for GPUs (``faiss-cpu`` is not) and sees one.
    """
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    if not gpu or not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return index
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(WORKSPACE)
    return faiss.index_cpu_to_gpu(resources, 0, index)
