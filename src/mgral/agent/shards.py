"""A pool scored in shards: the best images and the sum over all, exact, without the features of all in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mgral.agent.policy import Features, Policy, Seen, scan_order, sequence
from mgral.core.types import Doubles

SHARD = 2**17  # images whose features are in memory at a time: 134 MB of 256 dimensions


def scored(
    policy: Policy, ids: Iterable[int], embeddings: Seen, shard: int = SHARD
) -> Iterator[tuple[Sequence[int], Doubles]]:
    """Ids and scores [n] of images, shard after shard in the order of the scan.

    Args:
        policy: scans them once. With one shard this is its own scan; with several the same up to rounding.
        ids: images to scan, in any order.
        embeddings: of the pool, with or without numbers beside them; rows are read where they are scanned, so they may
            lie in a mapped file.
        shard: images in each but the last.

    Raises:
        MgralError: as :func:`mgral.agent.policy.sequence`.
    """
    ids = sorted(ids)
    if len(ids) <= shard:
        ordered, features = sequence(ids, embeddings, policy)
        with torch.no_grad():
            yield ordered, policy(features).double().numpy()
        return
    reader, ordered = Features(embeddings, policy), scan_order(ids, policy)
    parts = [ordered[start : start + shard] for start in range(0, len(ordered), shard)]

    def features_of_parts() -> Iterator[Tensor]:
        for part in parts:
            yield reader.of(part)

    for part, scores in zip(parts, policy.in_shards(features_of_parts()), strict=True):
        yield part, scores.double().numpy()


class Top:
    """The largest of values that come in parts, and the logarithm of the sum of all their exponentials.

    A value is among the largest of all only if it is among the largest of its part, so merging is exact; with Gumbel
    noise in the values that is a draw by Plackett–Luce (Kool et al. 2019).

    Attributes:
        logsumexp: of all values so far.
        count: how many there were.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._best: list[tuple[float, int]] = []
        self.logsumexp, self.count = -np.inf, 0

    def add(self, ids: Sequence[int], values: Doubles) -> None:
        """Take in a part: [n] values and the ids of their images."""
        ids_here = np.asarray(ids)
        order = np.lexsort((ids_here, -values))[: self._size]
        both = [*self._best, *zip(values[order].tolist(), ids_here[order].tolist(), strict=True)]
        self._best = sorted(both, key=lambda one: (-one[0], one[1]))[: self._size]
        self.logsumexp = float(np.logaddexp(self.logsumexp, np.logaddexp.reduce(values)))
        self.count += len(values)

    def best(self) -> list[tuple[int, float]]:
        """Ids and values of the ``size`` largest, best first; equal values by id."""
        return [(image, value) for value, image in self._best]
