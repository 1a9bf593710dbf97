"""What tests of the search share: a reward that is known, the published settings, a pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mgral.config.schema import Search
from mgral.core.types import Embeddings, Record
from mgral.reward.lookup_table import Price

Batch = Sequence[int]


class Known:
    """Prices batches by a formula, in place of records."""

    def __init__(self, worth: Callable[[Batch], float]) -> None:
        self.worth = worth

    def price(self, batches: Sequence[Batch]) -> Price:
        count = len(batches)
        return Price(np.array([self.worth(b) for b in batches]), np.zeros(count), np.zeros(count, np.bool_))

    def add(self, record: Record) -> None:
        raise AssertionError("nothing is far from a formula")

    def gain(self, record: Record) -> float:
        raise AssertionError("nothing is trained")


def settings(iterations: int, subsets: int = 4, fallback: int = 0, checkpoint_every: int = 0, **others: Any) -> Search:
    published = {
        "learning_rate": 0.001,
        "baseline": "moving",
        "baseline_decay": 0.5,
        "temperature": 1.0,
        "entropy_bonus": 0.0,
        "patience": 0,
    }
    given = {"iterations": iterations, "subsets": subsets, "fallback": fallback, "checkpoint_every": checkpoint_every}
    return Search(**{**published, **given, **others})


def pool(count: int, dims: int) -> Embeddings:
    rng = np.random.default_rng(7)
    return Embeddings(np.arange(1, count + 1), rng.normal(size=(count, dims)).astype(np.float32))
