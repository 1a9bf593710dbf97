"""learnable: class-balanced entropy of images that the detector can learn from already.

Uncertain images help a detector that can use them and hurt one that cannot. How well it detects at a given rank of
entropy is measured on labelled images that were held out from a second detector (replay): a line is fitted to its soft
Jaccard there (:mod:`mgral.reward.detection_quality`); with several replay splits over the images of all. An image's
score is that of ``balanced`` times the quality expected at its own rank of entropy. It needs no reward: one more
detector is trained and no proxy.
"""

from __future__ import annotations

from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.types import Pick
from mgral.data.evidence import Evidence
from mgral.reward import detection_quality
from mgral.reward.signals import measure
from mgral.strategies import _greedy_picks
from mgral.strategies._contract import Reasons
from mgral.strategies.balanced import balanced_reason

NEEDS: frozenset[str] = frozenset({"detections", "embeddings", "labels", "held_out"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "balanced_entropy": "entropy of the detections, classes with few labelled boxes weighing more; in nats",
    "class": "the class that contributes most to it",
    "quality": "of detection, expected at the image's rank of entropy; measured on held-out labelled images, 0 to 1",
    "coverage": "0: a copy of an image that is labelled or was picked before; 1: unlike all of them",
}


class Options(Settings):
    """learnable has none; ``proxy.holdout`` says how many labelled images are held out, ``proxy.splits`` how often."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of the largest balanced entropy times expected quality times coverage; equal ones by id.

    Args:
        evidence: ``detections`` and ``embeddings`` of every image of the pool, ``labels`` of the labelled ones, and
            what the detectors of the replay splits find in those that were ``held_out``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: none.

    Raises:
        MgralError: a part of the evidence is missing or not finite, or a held-out image has no labels.
    """
    held_out, labels = evidence.held_out_for("strategy learnable"), evidence.labels_for("strategy learnable")
    unknown = sorted({i for found in held_out for i in found} - set(labels))
    if unknown:
        raise MgralError(f"image {unknown[0]} of --held-out is not labelled in the pool; run `mgral embed` for replay")
    signals = measure(evidence, "strategy learnable")
    line = detection_quality.quality_by_rank(held_out, labels, evidence.activation_for("strategy learnable"))
    expected = detection_quality.expected_quality(line, signals.entropy)
    return _greedy_picks.by_score(
        signals,
        signals.balanced * expected,
        budget,
        lambda row: {**balanced_reason(signals, row, evidence.classes), "quality": float(expected[row])},
    )
