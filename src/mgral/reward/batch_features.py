"""Batches of images as vectors, so that the lookup table can say which of them are alike (by L2 distance).

- ``embedding``: the mean of the images' embeddings, as the detector gave them (arXiv 2310.08387).
- ``index``: 1 at the images of the batch and 0 elsewhere, over the pool in ascending order of id (the paper's first
  version). Two batches are as far apart as the square root of the number of images that only one of them holds.
- ``moments``: that mean and, beside it, √2 times the standard deviation of each dimension. A mean of b images drawn
  at random varies by σ/√b and, for a normal distribution, their standard deviation by σ/√(2b): the factor gives
  both halves the same weight in a distance.
- ``counts``: the share of the batch that falls to each of a few centroids of the pool (k-means). An image counts for
  all of them, by softmax of -d²/2s² with d its distance to a centroid and s² the pool's mean d² to the nearest.
- ``objects``: for each class, how many objects the detector expects in an image of the batch, on the mean, in standard
  deviations of the pool's images. As few numbers as there are classes, so that a few records go far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mgral.core.errors import MgralError, nearest
from mgral.core.types import Detections, Doubles, Embeddings, Floats, Ints

Batches = Sequence[Sequence[int]]
Describe = Callable[[Batches], Floats]
"""Image ids of each batch, in any order → vectors [batches, d]."""

SEED = 0  # of k-means: the centroids depend on the pool's embeddings and on nothing else
ROUNDS = 25  # of k-means
BLOCK = 65_536  # images whose distances to the centroids are held at a time


def describer(embeddings: Embeddings, kind: str, centroids: int) -> Describe:
    """The function that gives batches of a pool their vectors.

    It raises MgralError for no batch at all, and for a batch that is empty, repeats an id, or holds one that is
    not in the pool.

    Args:
        embeddings: of the whole pool.
        kind: a key of :data:`REPRESENTATIONS`.
        centroids: of ``counts``; as many as there are images, where these are fewer.

    Raises:
        MgralError: unknown kind; for ``objects``, none counted.
    """
    if kind not in REPRESENTATIONS:
        raise MgralError(f"table.representation: unknown '{kind}'; {nearest(kind, REPRESENTATIONS)}")
    describe_one = REPRESENTATIONS[kind](embeddings, centroids)

    def describe(batches: Batches) -> Floats:
        if not batches:
            raise MgralError("no batch to represent; give at least one")
        vectors = [describe_one(positions_of(batch, embeddings.ids, f"batch {k}")) for k, batch in enumerate(batches)]
        return np.stack(vectors).astype(np.float32)

    return describe


def check_batch(batch: Sequence[int], embeddings: Embeddings, name: str) -> None:
    """Raise MgralError, naming the batch, if it is empty, repeats an id or holds one that is not in the pool."""
    positions_of(batch, embeddings.ids, name)


def positions_of(
    batch: Sequence[int],
    pool: Ints,
    name: str,
    absent: str = "is not in the pool; draw batches from the pool's own ids",
) -> Ints:
    """Ascending positions of a batch's images in a pool.

    Args:
        batch: ids, in any order.
        pool: [N] ids, ascending.
        name: of the batch, for messages.
        absent: what a message says of an image that is not in it.

    Raises:
        MgralError: the batch is empty, repeats an id or holds one that is not in the pool.
    """
    if not len(batch):
        raise MgralError(f"{name}: holds no image; a batch needs at least one id")
    ids = np.sort(np.asarray(batch))
    positions = np.minimum(np.searchsorted(pool, ids), len(pool) - 1)
    others = ids[pool[positions] != ids]
    if len(others):
        raise MgralError(f"{name}: image {others[0]} {absent}")
    if (ids[1:] == ids[:-1]).any():
        raise MgralError(f"{name}: holds an image twice; name each id once")
    return positions


DescribeOne = Callable[[Ints], npt.NDArray[np.floating]]
"""Ascending positions in the pool → vector [d] of the batch of these images."""


def _embedding(embeddings: Embeddings, centroids: int) -> DescribeOne:
    return lambda positions: embeddings.vectors[positions].mean(axis=0, dtype=np.float64)


def _index(embeddings: Embeddings, centroids: int) -> DescribeOne:
    def describe_one(positions: Ints) -> Floats:
        vector = np.zeros(len(embeddings.ids), np.float32)
        vector[positions] = 1
        return vector

    return describe_one


def _moments(embeddings: Embeddings, centroids: int) -> DescribeOne:
    def describe_one(positions: Ints) -> Doubles:
        rows = embeddings.vectors[positions].astype(np.float64)
        return np.concatenate([rows.mean(axis=0), math.sqrt(2) * rows.std(axis=0)])

    return describe_one


def _counts(embeddings: Embeddings, centroids: int) -> DescribeOne:
    memberships = _memberships(embeddings, centroids)
    return lambda positions: memberships[positions].mean(axis=0, dtype=np.float64)


def _objects(embeddings: Embeddings, centroids: int) -> DescribeOne:
    if embeddings.objects is None:
        raise MgralError("table.representation: objects needs the detections of the pool; give --detections")
    counts = embeddings.objects.astype(np.float64)
    deviations = counts.std(axis=0)
    counts /= np.where(deviations > 0, deviations, 1)  # a class that is nowhere expected tells nothing apart
    return lambda positions: counts[positions].mean(axis=0)


REPRESENTATIONS: dict[str, Callable[[Embeddings, int], DescribeOne]] = {
    "embedding": _embedding,
    "index": _index,
    "moments": _moments,
    "counts": _counts,
    "objects": _objects,
}


def with_objects(embeddings: Embeddings, detections: Mapping[int, Detections], classes: int) -> Embeddings:
    """The embeddings, and beside them how many objects of each class are expected in an image.

    Args:
        embeddings: of the pool.
        detections: of the same images.
        classes: C.

    Raises:
        MgralError: an image of the pool has no detections, not even none.
    """
    counts = []
    for i in embeddings.ids.tolist():
        if i not in detections:
            raise MgralError(f"image {i} has an embedding and is not among the detections; run `mgral embed` again")
        found = detections[i]
        counts.append(np.bincount(found.labels, weights=found.scores, minlength=classes))
    return replace(embeddings, objects=np.array(counts, np.float32))


def _memberships(embeddings: Embeddings, count: int) -> Floats:
    """[N, centroids] how far each image belongs to each centroid; rows sum to 1."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    vectors = np.ascontiguousarray(embeddings.vectors, np.float32)
    with threadpool_limits(1):  # with more threads, the order of sums and thus the answer would vary
        centroids = _k_means(vectors, min(count, len(vectors))).astype(np.float64)
        squared = np.empty((len(vectors), len(centroids)), np.float32)
        nearest_one = np.empty(len(vectors))
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            rows = vectors[block].astype(np.float64)
            products = rows @ centroids.T
            distances = (rows**2).sum(axis=1, keepdims=True) - 2 * products + (centroids**2).sum(axis=1)
            nearest_one[block] = np.maximum(distances.min(axis=1), 0)
            squared[block] = distances - distances.min(axis=1, keepdims=True)  # the softmax sees differences only
    bandwidth = max(nearest_one.mean(), np.finfo(np.float32).tiny)
    with np.errstate(over="ignore"):  # every image at a centroid: e^-inf = 0 for the others
        weights = np.exp(squared / np.float32(-2 * bandwidth))
    memberships: Floats = weights / weights.sum(axis=1, keepdims=True)
    return memberships


def _k_means(vectors: Floats, count: int) -> Floats:
    """[count, d] centroids by FAISS, which draws at most 256 vectors a centroid to find them."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        means = faiss.Kmeans(vectors.shape[1], count, niter=ROUNDS, seed=SEED, min_points_per_centroid=1, gpu=False)
        means.train(vectors)
    finally:
        faiss.omp_set_num_threads(threads)
    return np.asarray(means.centroids)
