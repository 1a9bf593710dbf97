"""The agent's batch or the rule's: leave the rule in the price's prior only where the price is certain enough.

The highest price among many batches promises more than it holds (the optimiser's curse), and between good batches the
posterior of the weights is wide. So a batch takes the place of the rule's own only if the posterior gives it a larger
gain with a stated probability. This is safe policy improvement with a baseline policy (Thomas et al. 2015,
"High-confidence policy improvement"), with the rule as the baseline.

What is certain to gain more is seldom what is expected to gain most. From the agent's batch and from the rule's, images
are exchanged as long as that raises the gain over the rule's batch that the price is certain of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from mgral.core.types import Doubles, Floats, Ints
from mgral.reward import exchanges
from mgral.reward.batch_price import BatchPrice
from mgral.reward.bayes import Weights
from mgral.reward.growth import BY_CLASS, COVERED, World
from mgral.reward.signals import Growing, greedy


@dataclass(frozen=True)
class SafeChoice:
    """What is chosen.

    Attributes:
        ids: of the batch, ascending.
        rule: whether it is the rule's.
        certainty: probability, by the price, that this batch gains more than the rule's, 0..1; where it is the rule's,
            that the agent's does.
        of_rule: ids of the rule's batch, ascending; empty where it was not asked for.
    """

    ids: list[int]
    rule: bool
    certainty: float
    of_rule: list[int]


def choose(price: BatchPrice, batch: list[int], least: float, passes: int = 0) -> SafeChoice:
    """The batch that the price is certain enough gains more than the rule's, and most; the rule's if there is none.

    Args:
        price: of the pool; without weights, or with ``least`` 0, the agent's batch is chosen.
        batch: of the agent, ids that differ.
        least: certainty from which the rule's batch is left, 0..1.
        passes: of exchanges, at most, from the agent's batch and from the rule's; 0: it is one of the two.

    Raises:
        MgralError: the batch is unfit.
    """
    if price.weights is None or not least:
        return SafeChoice(sorted(batch), False, 1.0, [])
    world, weights = price.world, price.weights
    rule = rule_batch(world, weights.rule, len(batch))
    gain = CertainGain(weights, world.features([rule])[0], least)
    found = [sorted(batch), exchanges.climb(price, batch, passes, gain), exchanges.climb(price, rule, passes, gain)]
    sure = [certainty(world, weights, one, rule) for one in found]
    fit = [k for k, one in enumerate(found) if one != rule and sure[k] >= least]
    if not fit:
        return SafeChoice(rule, True, sure[0], rule)
    gains = gain(world.features(found))
    best = max(fit, key=lambda k: gains[k])
    return SafeChoice(found[best], False, sure[best], rule)


@dataclass(frozen=True)
class CertainGain:
    """The gain over the rule's batch, in mAP, that batches have with some probability at least.

    Attributes:
        weights: of the price.
        rule: [C, 8] numbers of the rule's batch.
        least: the probability, above 0 and up to 1.
    """

    weights: Weights
    rule: Doubles
    least: float

    def __call__(self, numbers: Doubles) -> Doubles:
        """[n] of batches by their numbers [n, C, 8]."""
        gain, deviation = self.weights.predict(numbers - self.rule)
        times = NormalDist().inv_cdf(self.least) if self.least < 1 else math.inf
        found: Doubles = gain - np.multiply(times, deviation, where=deviation > 0, out=np.zeros_like(gain))
        return found


def certainty(world: World, weights: Weights, batch: Sequence[int], other: Sequence[int]) -> float:
    """Probability by the posterior of the weights that a batch gains more than another, 0..1; 0.5 for the same."""
    one, two = world.features([batch, other])[:, weights.classes].mean(axis=1)
    numbers = one - two
    gain, variance = float(numbers @ weights.mean), float(numbers @ weights.covariance @ numbers)
    if variance <= 0:
        return 0.5 if gain == 0 else float(gain > 0)
    return 0.5 * math.erfc(-gain / math.sqrt(2 * variance))


def rule_batch(world: World, rule: str, size: int) -> list[int]:
    """The batch of a rule, ids ascending: the one that the strategy of that rule picks.

    Args:
        world: the pool.
        rule: the rule's own number: one of ``COVERED``, or ``competent growth``.
        size: images wanted.
    """
    pool = _Candidates(world.ids, _Rows(world), world.scale, world.squares, world.expected, world.boxes)
    if rule in BY_CLASS:
        growing = Growing(pool, world.weights)
        choices = greedy(pool, size, growing.gain, growing.add)
    else:
        scores = world.scores[:, COVERED.index(rule)].tolist()
        choices = greedy(pool, size, lambda row, discount: discount * scores[row], lambda row, discount: None)
    return sorted(int(world.ids[choice.row]) for choice in choices)


@dataclass(frozen=True)
class _Candidates:
    """A world as the greedy rules read it."""

    ids: Ints
    vectors: _Rows
    scale: float
    labelled_squares: Doubles
    expected: Doubles
    boxes: Doubles


@dataclass(frozen=True)
class _Rows:
    """Embeddings of the candidates, read row by row: those of a large pool stay in their file."""

    world: World

    def __getitem__(self, rows: Any) -> Floats:
        places = self.world.places
        found: Floats = self.world.vectors[rows if places is None else places[rows]]
        return found
