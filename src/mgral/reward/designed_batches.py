"""Batches at the ends of each signal, and the batches of the rules without a reward: designed records.

Random batches are nearly alike, so their records teach little. The batches here differ as much as batches can: for each
signal of :mod:`mgral.reward.signals` the images where it is largest and those where it is smallest, and what the rules
``balanced``, ``growth`` (equal weights) and ``learnable`` would choose. Each gives its record a name of its own, so
that the gain of a whole rule can be averaged over cycles and seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from mgral.core.types import Doubles, Ints
from mgral.data.evidence import Evidence
from mgral.reward.detection_quality import expected_quality
from mgral.reward.signals import Growing, Signals, greedy, measure

STRENGTH = 4.0  # of a repeated design: log-weights rise by it per standard deviation of the signal's rank

SIGNALS: dict[str, Callable[[Signals], Doubles]] = {
    "entropy": lambda signals: signals.entropy,
    "balanced entropy": lambda signals: signals.balanced,
    "expected boxes": lambda signals: signals.expected.sum(axis=1),
    "novelty": lambda signals: signals.novelty,
    "quality": lambda signals: signals.quality,
}
RULES = ("balanced", "growth", "learnable")
NAMES = (
    *(f"rule {name}" for name in RULES),
    *(f"{end} {name}" for name in SIGNALS for end in ("most", "least")),
)
"""Of the designs, in the order in which they are made; of more batches than these, the first are varied."""


def name_of(k: int) -> str:
    """The generator of the k-th designed batch, from 0; that of a varied one says so."""
    return NAMES[k] if k < len(NAMES) else f"varied {NAMES[k % len(NAMES)]}"


def sampler(evidence: Evidence, size: int) -> Callable[[int, np.random.Generator], Ints]:
    """The function that draws designed batches: (number among them, randomness) → positions in the ascending ids.

    The first call for a number below ``len(NAMES)`` gives the design itself. A later one, for a design that equals
    another batch or has been made, draws with probabilities that rise with the signal.

    Args:
        evidence: ``detections``, ``embeddings`` and ``labels``; ``quality`` for the rule learnable.
        size: images in a batch.

    Raises:
        MgralError: a part of the evidence is missing.
    """
    signals = measure(evidence, "proxy.generators.designed")
    expected = expected_quality(evidence.quality, signals.entropy)
    made: set[int] = set()

    def draw_one(k: int, rng: np.random.Generator) -> Ints:
        name = NAMES[k % len(NAMES)]
        direction = _direction(signals, expected, name)
        if k < len(NAMES) and k not in made:
            made.add(k)
            if name.startswith("rule "):
                return _rule(signals, name, direction, size)
            return np.argsort(-direction, kind="stable")[:size]
        ranks = rankdata(direction)
        standard = (ranks - ranks.mean()) / (ranks.std() or 1.0)
        return np.argsort(-(STRENGTH * standard + rng.gumbel(size=len(ranks))), kind="stable")[:size]

    return draw_one


def _direction(signals: Signals, expected: Doubles, name: str) -> Doubles:
    """[n] what a design prefers; for a rule its score without coverage."""
    if name == "rule balanced":
        return signals.balanced
    if name == "rule learnable":
        return signals.balanced * expected
    if name == "rule growth":
        growth: Doubles = np.log1p(signals.expected / (signals.boxes + 1)).sum(axis=1)
        return growth
    end, signal = name.split(" ", 1)
    return SIGNALS[signal](signals) * (1 if end == "most" else -1)


def _rule(signals: Signals, name: str, direction: Doubles, size: int) -> Ints:
    """The batch of a rule, as the strategy of that name chooses it (``growth`` with equal weights)."""
    if name == "rule growth":
        batch = Growing(signals, np.ones(len(signals.boxes)))
        return np.array([choice.row for choice in greedy(signals, size, batch.gain, batch.add)], np.int64)
    scores = direction.tolist()
    choices = greedy(signals, size, lambda row, discount: discount * scores[row], lambda row, discount: None)
    return np.array([choice.row for choice in choices], np.int64)
