"""k-medoids: k of m things so that each is near one of them, given all distances (Kaufman & Rousseeuw 1987).

By alternation, as Lloyd's algorithm: things go to their nearest medoid, and each cluster's most central thing becomes
its medoid, until none changes. What comes out depends on the start.
"""

from __future__ import annotations

import numpy as np

from mgral.core import random_streams
from mgral.core.types import Floats, Ints

ROUNDS = 100  # at most


def plus_plus(distances: Floats, count: int, seed: int) -> Ints:
    """k-means++ (Arthur & Vassilvitskii 2007): the first at random, each next one with probability ∝ its distance².

    Args:
        distances: [m, m], each to each, >= 0.
        count: of things to draw, 1 … m.
        seed: of the draws.

    Returns:
        [count] different rows, in the order drawn. Where all that is left lies on what was drawn, the smallest row.
    """
    generator = random_streams.generator(seed, "k-means++")
    first = int(generator.integers(len(distances)))
    chosen, nearest = [first], distances[first].astype(np.float64)
    while len(chosen) < count:
        weights = nearest**2
        weights[chosen] = 0.0
        total = weights.sum()
        row = int(generator.choice(len(weights), p=weights / total)) if total > 0 else _left(len(weights), chosen)
        chosen.append(row)
        nearest = np.minimum(nearest, distances[row])
    return np.array(chosen, np.int64)


def k_center(distances: Floats, count: int, seed: int) -> Ints:
    """Greedy k-center: the first at random, each next one farthest from those before; of equals the smallest row.

    Arguments and answer as of :func:`plus_plus`.
    """
    first = int(random_streams.generator(seed, "k-center").integers(len(distances)))
    chosen, nearest = [first], distances[first].astype(np.float64)
    while len(chosen) < count:
        nearest[chosen] = -1.0
        row = int(np.argmax(nearest))
        chosen.append(row)
        nearest = np.minimum(nearest, distances[row])
    return np.array(chosen, np.int64)


def k_medoids(distances: Floats, start: Ints) -> tuple[Ints, Ints]:
    """Improve medoids until none changes.

    Args:
        distances: [m, m], symmetric, 0 from each to itself.
        start: [k] different rows.

    Returns:
        Medoids [k], different rows, ascending; and of each thing [m] the place of its medoid among these. Equally near
            medoids, and equally central things, go by the smallest row. A medoid stays in its own cluster even where
            another lies on it, so no cluster runs empty.
    """
    medoids = np.sort(start)
    for _ in range(ROUNDS):
        clusters = _assign(distances, medoids)
        moved = np.sort([_central(distances, np.flatnonzero(clusters == k)) for k in range(len(medoids))])
        if np.array_equal(moved, medoids):
            break
        medoids = moved
    return medoids, _assign(distances, medoids)


def _assign(distances: Floats, medoids: Ints) -> Ints:
    clusters: Ints = distances[:, medoids].argmin(axis=1)
    clusters[medoids] = np.arange(len(medoids))
    return clusters


def _central(distances: Floats, members: Ints) -> int:
    """The member of least distance to all members."""
    return int(members[distances[np.ix_(members, members)].sum(axis=1, dtype=np.float64).argmin()])


def _left(count: int, chosen: list[int]) -> int:
    return int(np.setdiff1d(np.arange(count), chosen)[0])
