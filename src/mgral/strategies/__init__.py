"""Strategies: the rule that picks the batch, one file each.

A strategy is a module with

- ``NEEDS``: what of the :class:`Evidence` it looks at, any of ``detections``, ``embeddings``, ``agent``, ``labels``,
  ``truth``; the workflow makes these and nothing more, and what is not named here is not shown;
- ``Options``: its parameters (:class:`mgral.settings.Settings`), with defaults and explanations;
- ``select(evidence, budget, seed, options)``: a list of :class:`mgral.types.Pick`, best first: ``budget``
  different unlabelled ids, or all of them if fewer are left. The answer does not depend on the order in which
  the pool is listed, equal scores go to the smaller id, and nothing but ``seed`` is random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mgral.pools import Pool
from mgral.types import Activation, Boxes, Detections, Embeddings

IN_FILES = frozenset({"detections", "embeddings", "agent"})  # needs with a file of their own; the rest needs none


@dataclass(frozen=True)
class Evidence:
    """What a strategy may look at.

    Attributes:
        pool: labelled and unlabelled ids.
        classes: class names; detections' labels index them.
        detections: of every image of the pool, after non-maximum suppression, best score first.
        activation: whether ``detections`` hold softmax or sigmoid probabilities.
        embeddings: of every image of the pool.
        agent: file of the trained policy.
        labels: ground truth of the labelled images.
        truth: ground truth of every image of the pool, the unlabelled ones too. To look at it is to cheat: there is
            none outside simulations.
    """

    pool: Pool
    classes: tuple[str, ...]
    detections: Mapping[int, Detections] | None = None
    activation: Activation | None = None
    embeddings: Embeddings | None = None
    agent: Path | None = None
    labels: Mapping[int, Boxes] | None = None
    truth: Mapping[int, Boxes] | None = None
