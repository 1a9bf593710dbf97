"""The pool of cycle 0, drawn at random or by a strategy that needs no detector."""

from __future__ import annotations

from collections.abc import Sequence

from mgral.config.schema import Initial
from mgral.core.errors import MgralError
from mgral.core.types import Patterns
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool, check_size, initial_pool, started
from mgral.strategies import freesel


def draw(params: Initial, annotated: Sequence[int], ids: Sequence[int], seed: int, patterns: Patterns | None) -> Pool:
    """Draw the images that are labelled before cycle 0.

    Args:
        params: how many, and how.
        annotated: ids of the images that the oracle has annotated; the draw is among these.
        ids: of the whole pool.
        seed: of the experiment.
        patterns: of all of the pool, for ``initial_by: freesel``.

    Raises:
        MgralError: fewer annotated images than are wanted, or no patterns.
    """
    size = len(annotated) if params.initial == "all" else params.initial
    if params.initial_by == "random":
        return initial_pool(annotated, size, seed, ids)
    if patterns is None:
        raise MgralError(
            "budget.initial_by: freesel needs local patterns; give --patterns, made by `mgral foundation-features`"
        )
    check_size(annotated, size)
    candidates = Pool(0, {}, tuple(sorted(annotated)))
    picks = freesel.select(Evidence(candidates, (), patterns=patterns), size, seed, freesel.Options())
    return started([pick.id for pick in picks], [*annotated, *ids])
