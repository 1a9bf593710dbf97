"""random: uniform without replacement, the baseline of every comparison."""

from __future__ import annotations

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset()
REASONS: Reasons = {
    "draw": "the random number that the image drew, 0 to 1; the largest are picked",
}


class Options(Settings):
    """random has none."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Every image draws a number in 0..1, its score; the largest are picked.

    Numbers are dealt in order of id, so the same pool and seed give the same batch, and a smaller budget gets
    the head of a larger one's.

    Args:
        evidence: the pool is all that is looked at.
        budget: images wanted.
        seed: decides the draw.
        options: none.
    """
    ids = sorted(evidence.pool.unlabelled)
    numbers = random_streams.generator(seed, "random", evidence.pool.cycle).random(len(ids)).tolist()
    best = sorted(zip(ids, numbers, strict=True), key=lambda drawn: (-drawn[1], drawn[0]))
    return [Pick(i, number, {"draw": number}) for i, number in best[:budget]]
