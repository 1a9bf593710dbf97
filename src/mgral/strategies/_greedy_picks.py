"""What the strategies balanced, growth and learnable share: the batch in the order in which it was chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mgral.core.types import Doubles, Pick
from mgral.reward.signals import Choice, Signals, greedy

Reason = dict[str, float | int | str]


def by_score(signals: Signals, scores: Doubles, budget: int, explain: Callable[[int], Reason]) -> list[Pick]:
    """Pick the largest score times coverage discount, one after the other; equal ones by id.

    Where every score is 0, of a detector that finds nothing yet, coverage alone decides: by id, the first files of the
    folder would make the batch.

    Args:
        signals: of the candidates.
        scores: [n] >= 0.
        budget: images wanted.
        explain: row → terms of the reason, beside ``coverage``.
    """
    values = scores.tolist() if scores.any() else [1.0] * len(scores)
    choices = greedy(signals, budget, lambda row, discount: discount * values[row], lambda row, discount: None)
    return [as_pick(signals, choice, explain(choice.row)) for choice in choices]


def as_pick(signals: Signals, choice: Choice, terms: Mapping[str, float | int | str]) -> Pick:
    """A choice as a pick; the reason's last term is ``coverage``."""
    return Pick(int(signals.ids[choice.row]), choice.gain, {**terms, "coverage": choice.discount})
