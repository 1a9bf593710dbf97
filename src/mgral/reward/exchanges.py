"""Polishing: exchanges of images that raise the price of a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mgral.core.types import Doubles, Ints
from mgral.reward.batch_price import BatchPrice
from mgral.reward.growth import COVERED, PLAIN, World

SHORTLIST = 1024  # candidates tried, those of the highest expected gain by themselves
BLOCK = 2**21  # numbers of the images of changed batches that are held at a time
LEAST = 1e-9  # mAP that an exchange must add; below it differences are rounding


def polish(price: BatchPrice, batch: list[int], passes: int, caution: float = 0.0) -> list[int]:
    """Exchange images of a batch for others as long as that raises its price.

    One pass tries, for each image of the batch in ascending order of id, all candidates in its place and takes the one
    with the highest price if that is higher than before; of equal ones the smallest id. Prices are those that the agent
    is rewarded by, and exact: coverage and growth are those of the whole batch. In a large pool the candidates are the
    ``SHORTLIST`` best by themselves.

    Args:
        price: with weights.
        batch: ids that differ.
        passes: at most; it ends sooner where a pass changes nothing.
        caution: standard deviations of the expected gain that are subtracted from it, >= 0.

    Returns:
        The batch, ids ascending. Its price is not below that of ``batch``.
    """
    return climb(price, batch, passes, lambda numbers: price.cautious(numbers, caution))


def climb(price: BatchPrice, batch: list[int], passes: int, value: Callable[[Doubles], Doubles]) -> list[int]:
    """Exchange images of a batch for others, as :func:`polish` does, as long as that raises a value.

    Args:
        price: with weights; it says which candidates of a large pool are tried.
        batch: ids that differ.
        passes: at most.
        value: of batches [n] by their numbers [n, C, 8].

    Returns:
        The batch, ids ascending. Its value is not below that of ``batch``.
    """
    world = price.world
    if not passes or price.weights is None or len(batch) >= len(world.ids):
        return sorted(batch)
    shortlist = np.sort(np.argsort(-price.alone, kind="stable")[:SHORTLIST])
    chosen = world.rows(batch, "batch")
    level = world.level(len(chosen))
    best = float(value(world.raw(chosen[None]) - level)[0])
    for _ in range(passes):
        before = best
        for row in np.sort(chosen):
            others = shortlist[~np.isin(shortlist, chosen)]
            if not len(others):
                break
            values = value(_exchanged(world, chosen, int(row), others) - level)
            k = int(np.argmax(values))
            if values[k] > best + LEAST:
                changed = np.append(chosen[chosen != row], others[k])
                chosen = changed[np.argsort(world.place[changed])]
                best = float(values[k])
        if best == before:
            break
    return sorted(world.ids[chosen].tolist())


def _exchanged(world: World, chosen: Ints, out: int, others: Ints) -> Doubles:
    """[M, C, 8] numbers of a batch with one of its rows exchanged for each of ``others`` [M]."""
    kept = chosen[chosen != out]  # in the order of coverage
    between = world.squares_between(kept, kept)
    between[np.triu_indices(len(kept))] = np.inf
    base = np.minimum(between.min(axis=1, initial=np.inf), world.squares[kept])
    per_block = max(1, BLOCK // (len(chosen) * max(len(world.boxes), len(COVERED + PLAIN))))
    found = []
    for low in range(0, len(others), per_block):
        some = others[low : low + per_block]
        to = world.squares_between(some, kept)  # [m, b - 1]
        earlier = world.place[kept] < world.place[some][:, None]
        own = np.minimum(np.where(earlier, to, np.inf).min(axis=1, initial=np.inf), world.squares[some])
        later = np.minimum(base, np.where(earlier, np.inf, to))
        rows = np.column_stack([np.broadcast_to(kept, to.shape), some])
        found.append(world.numbers(rows, world.coverage(np.column_stack([later, own]))))
    return np.concatenate(found)
