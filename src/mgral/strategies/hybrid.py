"""hybrid: one strategy narrows the pool, another picks the batch from what is left.

The usual form of "uncertain, then diverse": the ``first`` strategy takes the best ``expand`` · b images, and the
``second`` picks the batch of b as if the pool held no others. Each has its own options. Both must do with what one
run of the detector gives (detections, embeddings) and the labels; strategies that train something are refused.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator

from mgral.config.base import Settings
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"detections", "embeddings", "labels"})
REASONS: Reasons = {
    "rank": "by the first strategy, 1 is the best of the pool",
    "first": "score by the first strategy",
    "candidates": "how many images the first strategy left to the second",
    "second": "score by the second strategy, among these",
}


class Options(Settings):
    """Options of hybrid."""

    first: str = Field(default="entropy", description="strategy that narrows the pool")
    first_options: dict[str, Any] = Field(default_factory=dict, description="its options")
    second: str = Field(default="coreset", description="strategy that picks the batch from what is left")
    second_options: dict[str, Any] = Field(default_factory=dict, description="its options")
    expand: float = Field(default=4.0, ge=1, description="images that the first leaves, as a multiple of the budget")

    @model_validator(mode="after")
    def _both_can_be_had(self) -> Self:
        for key in ("first", "second"):
            name = getattr(self, key)
            more = plugins.load("strategies", name).NEEDS - NEEDS
            if more:
                raise MgralError(f"hybrid.{key}: {name} needs {', '.join(sorted(more))} too; choose another strategy")
            _options(name, getattr(self, f"{key}_options"), key)
        return self


def uses(options: Options) -> list[str]:
    """Names of the strategies that one with these options runs, those that they run in turn among them."""
    names = []
    for key in ("first", "second"):
        name = getattr(options, key)
        plugin = plugins.load("strategies", name)
        names.append(name)
        if hasattr(plugin, "uses"):
            names += plugin.uses(_options(name, getattr(options, f"{key}_options"), key))
    return names


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the second strategy's batch among the first's candidates; its score is the score.

    Args:
        evidence: ``detections``, ``embeddings`` and ``labels``.
        budget: images wanted.
        seed: handed to both.
        options: see :class:`Options`.

    Raises:
        MgralError: evidence that is missing, or an error of one of the two.
    """
    ids = sorted(evidence.pool.unlabelled)
    evidence.detections_of(ids, "strategy hybrid")
    evidence.embeddings_of(ids, "strategy hybrid")
    evidence.labels_for("strategy hybrid")
    first = _picks(evidence, math.ceil(options.expand * budget), seed, options.first, options.first_options, "first")
    pool = replace(evidence.pool, unlabelled=tuple(sorted(pick.id for pick in first)))
    second = _picks(replace(evidence, pool=pool), budget, seed, options.second, options.second_options, "second")
    place = {pick.id: (rank, pick.score) for rank, pick in enumerate(first, start=1)}
    return [
        Pick(
            pick.id,
            pick.score,
            {
                "rank": place[pick.id][0],
                "first": place[pick.id][1],
                "candidates": len(first),
                "second": pick.score,
            },
        )
        for pick in second
    ]


def _picks(evidence: Evidence, budget: int, seed: int, name: str, given: dict[str, Any], key: str) -> list[Pick]:
    picks: list[Pick] = plugins.load("strategies", name).select(evidence, budget, seed, _options(name, given, key))
    return picks


def _options(name: str, given: dict[str, Any], key: str) -> Settings:
    options: Settings = plugins.load("strategies", name).Options.parse(given, f"hybrid.{key}_options")
    return options
