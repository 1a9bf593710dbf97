"""Farthest points: greedy k-center over vectors (Gonzalez 1985), exact, with few passes over the vectors.

Each step takes the vector farthest from its nearest centre and makes it a centre. Written plainly, every step reads all
vectors. Here one pass computes, for the :data:`CANDIDATES` vectors that are farthest at that time, a lower bound of the
distance to every vector. While the steps take candidates, which most do, a step compares these bounds and computes
exactly only the few distances that can be smaller than those known.

Memory is O(N·d) for the vectors and O(N · CANDIDATES) for the bounds. The N × N matrix does not exist.
"""

from __future__ import annotations

import numpy as np

from mgral.core.types import Doubles, Floats, Ints

ROWS = 4096  # vectors, and
CENTRES = 256  # centres compared at a time: a block of distances is 4 MiB in float32
CANDIDATES = 64  # vectors whose bounds one pass computes: 4 bytes each for every vector
LONGEST = np.float32(1e37)  # squared length up to which a bound in float32 cannot overflow


class Cover:
    """How far every vector is from its nearest centre.

    Attributes:
        squares: [N] squared distances, float64; infinite before the first centre, -1 for vectors that are centres.
        nearest: [N] ids of the nearest centres; of equally near ones, the one added first.
        passes: how often :meth:`take` has read all vectors.
    """

    def __init__(self, vectors: Floats) -> None:
        """No centre yet; ``vectors`` [N, d] are finite."""
        self.squares: Doubles = np.full(len(vectors), np.inf)
        self.nearest: Ints = np.zeros(len(vectors), np.int64)
        self.passes = 0
        self._vectors = vectors
        self._lengths = _squared_lengths(vectors)
        self._ceiling: Floats = np.full(len(vectors), np.inf, np.float32)  # of `squares`, rounded up
        self._low = _lowered(self._lengths, vectors.shape[1])
        self._limit = self._ceiling - self._low
        self._products: Floats = np.zeros((0, len(vectors)), np.float32)  # -2x·p of all vectors x and the candidates p
        self._candidates: dict[int, int] = {}  # row of a vector: its row in `_products`

    @property
    def radius(self) -> float:
        """Distance of the vector that is farthest from its nearest centre; 0 if all are centres."""
        return float(np.sqrt(max(self.squares.max(), 0.0)))

    def farthest(self) -> int:
        """The row farthest from its nearest centre, the smallest of equals."""
        return int(np.argmax(self.squares))

    def take(self, row: int, centre: int) -> None:
        """Make the vector of a row a centre, with the id ``centre``."""
        at_zero = self.squares.max() <= 0  # copies of centres are all that is left, and none can come nearer
        if not at_zero and row not in self._candidates:
            self._refresh(row)
        self._set(np.array([row]), np.array([-1.0]))
        if at_zero:
            return
        # |p|² - 2x·p >= known - |x|². `not >=` in place of `<`: what is not a number rules nothing out
        beyond = self._products[self._candidates[row]] + self._low[row] >= self._limit
        possible = np.flatnonzero(np.logical_not(beyond, out=beyond))
        for some in np.array_split(possible, len(possible) // ROWS + 1):
            exact = _exact(self._vectors[some], self._vectors[row])
            nearer = exact < self.squares[some]
            self._set(some[nearer], exact[nearer])
            self.nearest[some[nearer]] = centre

    def add(self, centres: Floats, ids: Ints) -> None:
        """Bring the distances up to date with more centres.

        |x|² - 2x·c + |c|² is one fast product, but it rounds: copies of a vector would come out at slightly
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
        block = self._vectors[rows]
        rough, error = _products(block, self._lengths[rows], centres, _squared_lengths(centres))
        highest = np.minimum((rough + error).min(axis=1), self._ceiling[rows])
        # A centre no nearer than `highest` at its lowest is not the nearest.
        possible = ~(np.subtract(rough, error, out=rough) > highest[:, None])
        image, centre = np.nonzero(possible)  # by row, then by centre
        for low in range(0, len(image), ROWS):
            some, other = image[low : low + ROWS], centre[low : low + ROWS]
            exact = _exact(block[some], centres[other])
            order = np.lexsort((other, exact, some))  # of each row first its nearest centre
            some, at = np.unique(some[order], return_index=True)
            exact, other = exact[order][at], other[order][at]
            some += rows.start
            nearer = exact < self.squares[some]
            self._set(some[nearer], exact[nearer])
            self.nearest[some[nearer]] = ids[other[nearer]]

    def _refresh(self, row: int) -> None:
        """Bounds for the vectors that are farthest now, ``row`` among them."""
        chosen = _largest(self.squares, min(CANDIDATES, len(self.squares)))
        if row not in chosen:
            chosen[-1] = row
        self._candidates = {int(one): k for k, one in enumerate(chosen)}
        if len(self._products) != len(chosen):
            self._products = np.empty((len(chosen), len(self._vectors)), np.float32)
        np.matmul(-2 * self._vectors[chosen], self._vectors.T, out=self._products)
        self.passes += 1

    def _set(self, rows: Ints, squares: Doubles) -> None:
        self.squares[rows] = squares
        self._ceiling[rows] = np.nextafter(squares.astype(np.float32), np.float32(np.inf))
        self._limit[rows] = self._ceiling[rows] - self._low[rows]


def farthest_points(vectors: Floats, count: int, start: int) -> tuple[Ints, Doubles]:
    """Greedy k-center from one vector on.

    Args:
        vectors: [N, d], finite.
        count: how many to take, 1 … N.
        start: the row that comes first.

    Returns:
        Rows [count] in the order taken, of equally far ones the smallest; and the distance [count] of each to the
        nearest one before it, infinite for the first.
    """
    cover = Cover(vectors)
    rows, distances = [start], [np.inf]
    cover.take(start, start)
    while len(rows) < count:
        row = cover.farthest()
        rows.append(row)
        distances.append(cover.radius)
        cover.take(row, row)
    return np.array(rows, np.int64), np.array(distances)


def _products(one: Floats, one_lengths: Floats, other: Floats, other_lengths: Floats) -> tuple[Floats, Floats]:
    """[n, m] squared distances by one product, and a bound on their rounding error."""
    rough: Floats = one @ other.T
    rough *= -2
    lengths = one_lengths[:, None] + other_lengths  # |x|² + |c|²
    rough += lengths
    lengths *= _off(one.shape[1])
    return rough, lengths


def _lowered(lengths: Floats, dims: int) -> Floats:
    """|x|² less its share of the rounding error of |x|² - 2x·c + |c|²; not a number where that may overflow."""
    return np.where(lengths < LONGEST, lengths * (1 - _off(dims)), np.float32(np.nan))


def _off(dims: int) -> np.float32:
    """What |x|² - 2x·c + |c|² is off by in float32, at most, as a share of |x|² + |c|².

    A float32 sum of d products is off by at most about d·u·|x||c|, u = 2^-24 (Higham 2002, section 3.1), and
    2|x||c| <= |x|² + |c|². Three such sums and a few single roundings: 8·(d + 8)·u is generous.
    """
    return np.float32(8 * (dims + 8) * 2.0**-24)


def _exact(some: Floats, other: Floats) -> Doubles:
    """[n] squared distances of rows [n, d] to rows [n, d] or one [d], in float64."""
    exact: Doubles = ((some.astype(np.float64) - other) ** 2).sum(axis=1)
    return exact


def _largest(values: Doubles, count: int) -> Ints:
    """Rows of the largest values; of equals the smallest rows."""
    least = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > least)
    return np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])


def _squared_lengths(vectors: Floats) -> Floats:
    lengths: Floats = np.einsum("nd,nd->n", vectors, vectors)
    return lengths
