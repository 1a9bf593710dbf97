"""The predicted gains of some batches of a pool, and the check that random ones are worth nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mgral.core import random_streams
from mgral.reward import growth
from mgral.reward.batch_price import BatchPrice

RANDOM = 256  # random batches
CLEAR = 2.0  # standard errors from 0 up to which random batches count as worth nothing


def compare(price: BatchPrice, batches: Mapping[str, Sequence[int]], seed: int) -> dict[str, Any]:
    """Predict the gain of batches, and of random ones of the same size.

    Args:
        price: of the pool.
        batches: ids by name, none empty; the first says how large random batches are.
        seed: of the random ones.

    Returns:
        The content of ``prices.json``: ``batches``, a list of ``name``, ``gain`` (mAP over random batches) and
            ``deviation``; ``random``: how many ``batches``, ``mean`` and ``deviation`` of their gains, the standard
            ``error`` of the mean, which knows that 0 is itself a mean over random batches, and ``near_zero``, whether
            the mean lies within two standard errors of 0.

    Raises:
        MgralError: a batch is unfit, or the price has no weights.
    """
    gains, deviations = price.of(list(batches.values()))
    size = len(next(iter(batches.values())))
    rng = random_streams.generator(seed, "price of random batches")
    drawn = [rng.choice(price.world.ids, size, replace=False).tolist() for _ in range(RANDOM)]
    random = price.of(drawn)[0]
    mean, spread = float(random.mean()), float(random.std(ddof=1))
    error = spread * math.sqrt(1 / RANDOM + 1 / growth.RANDOM)
    return {
        "batches": [
            {"name": name, "gain": float(gain), "deviation": float(deviation)}
            for name, gain, deviation in zip(batches, gains, deviations, strict=True)
        ],
        "random": {
            "batches": RANDOM,
            "mean": mean,
            "deviation": spread,
            "error": error,
            "near_zero": bool(abs(mean) <= CLEAR * error + 1e-12),
        },
    }
