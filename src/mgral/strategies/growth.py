"""growth: the batch that lets the labelled boxes of the classes grow most, as far as the detector expects boxes.

Measured over trained batches, a class gains in AP in proportion to the log growth of its own labelled boxes. So the
batch is chosen greedily to maximise Σ_c a_c log((N_c + 1 + n_c) / (N_c + 1)), with n_c the expected boxes of the batch
(the sum of scores), each image's discounted by its coverage when it was chosen (:mod:`mgral.reward.signals`).

Growth of a class that the detector cannot learn yet does not help the others. With ``weights: competence`` a_c is the
class's AP on val; with ``equal`` it is 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.reward.signals import Choice, Growing, Signals, greedy, measure
from mgral.strategies import _greedy_picks
from mgral.strategies._contract import Reasons

NEEDS: frozenset[str] = frozenset({"detections", "embeddings", "labels", "competence"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "growth": "log growth of labelled boxes that the image adds to the batch, weighted mean over classes",
    "expected_boxes": "boxes that the detector expects in the image: the sum of its scores",
    "class": "the class that grows most by this image",
    "coverage": "0: a copy of an image that is labelled or was picked before; 1: unlike all of them",
}


class Options(Settings):
    """Options of growth."""

    weights: Literal["equal", "competence"] = Field(
        default="competence",
        description="of the classes: equal, or competence: AP on val of the cycle's detector; equal where all are 0",
    )


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of the largest weighted log growth of expected boxes, one by one; equal ones by id.

    Args:
        evidence: ``detections`` and ``embeddings`` of every image of the pool, ``labels`` of the labelled ones,
            ``competence`` of the classes.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: a part of the evidence is missing or not finite.
    """
    competence = evidence.competence_for("strategy growth")
    signals = measure(evidence, "strategy growth")
    weights = class_weights(competence, options.weights)
    batch = Growing(signals, weights)
    choices = greedy(signals, budget, batch.gain, batch.add)
    return [_greedy_picks.as_pick(signals, one, _reason(signals, one, weights, evidence.classes)) for one in choices]


def class_weights(competence: Doubles, kind: str) -> Doubles:
    """[C] a_c >= 0: AP on val, or 1 each; 1 each also where no class has any AP."""
    return competence if kind == "competence" and competence.sum() > 0 else np.ones(len(competence))


def _reason(signals: Signals, choice: Choice, weights: Doubles, classes: tuple[str, ...]) -> _greedy_picks.Reason:
    """The growth, the boxes expected, and the class that grows most, if any does."""
    expected = signals.expected[choice.row]
    reason: _greedy_picks.Reason = {"growth": choice.gain, "expected_boxes": float(expected.sum())}
    parts = weights * np.log1p(expected / (signals.boxes + 1))
    if parts.max() > 0:
        reason["class"] = classes[int(np.argmax(parts))]
    return reason
