"""Strategies: the rule that picks the batch, one file each.

A strategy is a module with

- ``NEEDS``: what of the :class:`Evidence` it looks at, any of ``detections``, ``embeddings``, ``agent``,
  ``image_scores``, ``labels``, ``truth``; the workflow makes these and nothing more, and what is not named here is not
  shown;
- ``Options``: its parameters (:class:`mgral.config.base.Settings`), with defaults and explanations;
- ``REASONS``: every term that stands in the reason of a pick, with a short line for people that says what it is;
- ``select(evidence, budget, seed, options)``: a list of :class:`mgral.core.types.Pick`, best first: ``budget``
  different unlabelled ids, or all of them if fewer are left. The answer does not depend on the order in which
  the pool is listed, equal scores go to the smaller id, and nothing but ``seed`` is random.

One that is no contender but shows what a contender must beat has also

- ``CONTROL``: in a few words, what it is a control for. Whoever needs the ``truth`` is one without saying so.

One that looks at images or trains something of its own does so in a step before, and needs the ``image_scores`` that
this step leaves. It has also

- ``score(context, seed, options)``: an :class:`mgral.core.types.ImageScores` of the unlabelled images, made with a
  :class:`mgral.strategies._context.StrategyContext`; what it trains serves the scores alone;
- ``TERMS``: the names of the image scores' arrays, each with the axes that follow that of the images: ``()`` for a
  number, ``("class",)`` for a number per class.

One that trains a detector of its own, whose mAP a paper reports, may show that beside the plain one. It has also

- ``reports_own(options)``: whether the options ask for it; the workflow then assesses in every cycle, the last one too;
- ``score_and_detect(context, seed, options)``: the same image scores, and what that detector finds in any images
  (:data:`mgral.core.types.Detect`); unlike ``score`` it trains even if no image is left unlabelled.

The workflow loads every strategy to read this, so what is heavy to import (torch) is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

import numpy as np

from mgral.config.base import Settings
from mgral.config.schema import Strategy
from mgral.core import plugins
from mgral.core.errors import MgralError, nearest
from mgral.core.types import Doubles, ImageScores, Ints
from mgral.data.evidence import Evidence

# Needs with a file of their own; the rest needs none.
IN_FILES = frozenset({"detections", "embeddings", "agent", "image_scores"})


Terms = Mapping[str, tuple[str, ...]]
Reasons = Mapping[str, str]


def scores_of(evidence: Evidence, strategy: str, terms: Terms) -> dict[str, Doubles]:
    """The terms of a strategy's image_scores, for its unlabelled images in ascending order of id.

    Args:
        evidence: with an ``image_scores``.
        strategy: its name, for messages.
        terms: its ``TERMS``.

    Returns:
        [n, …] float64 by name.

    Raises:
        MgralError: no image scores, one of another strategy, or an image that it leaves out.
    """
    remedy = "make image_scores.npz anew with `mgral score`"
    if evidence.image_scores is None:
        raise MgralError(f"strategy {strategy}: needs its image scores; give --image-scores, made by `mgral score`")
    rows = _rows(evidence.image_scores, sorted(evidence.pool.unlabelled), remedy)
    found = {}
    for name, axes in terms.items():
        if name not in evidence.image_scores.terms:
            raise MgralError(f"strategy {strategy}: the image scores has no array '{name}'; {remedy}")
        term = evidence.image_scores.terms[name]
        if term.shape[1:] != tuple({"class": len(evidence.classes)}[axis] for axis in axes):
            raise MgralError(f"strategy {strategy}: the image scores' '{name}' has shape {term.shape}; {remedy}")
        found[name] = term[rows]
    return found


def _rows(image_scores: ImageScores, ids: Sequence[int], remedy: str) -> Ints:
    row = {image: k for k, image in enumerate(image_scores.ids.tolist())}
    missing = [image for image in ids if image not in row]
    if missing:
        raise MgralError(f"image {missing[0]} has no row in the image scores; {remedy}")
    return np.array([row[image] for image in ids], np.int64)


def find(strategies: Iterable[Strategy], label: str) -> tuple[Strategy, ModuleType, Settings]:
    """A strategy, its plug-in and that plug-in's options.

    Raises:
        MgralError: unknown label, plug-in or option.
    """
    labelled = {strategy.name: strategy for strategy in strategies}
    if label not in labelled:
        raise MgralError(f"--strategy: unknown label '{label}'; {nearest(label, labelled)}")
    strategy = labelled[label]
    plugin = plugins.load("strategies", strategy.plugin)
    return strategy, plugin, plugin.Options.parse(strategy.options, f"strategies ({label}): options")
