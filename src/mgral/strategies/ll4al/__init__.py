"""ll4al: the images whose loss a head beside the detector predicts to be the largest (Yoo & Kweon, CVPR 2019).

A detector of the experiment's kind is trained once more, from the start and as the cycle's was, together with a small
head that learns from its feature maps which of two images has the larger loss. Both serve the scores alone. Losses
are those of each image by itself: the public code for SSD that takes a batch's mean teaches the head nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mgral.core import random_streams
from mgral.core.types import ImageScores, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of
from mgral.strategies.ll4al.options import Options as Options

if TYPE_CHECKING:
    from mgral.strategies._context import StrategyContext

NEEDS: frozenset[str] = frozenset({"image_scores"})
TERMS: Terms = {"predicted_loss": ()}
REASONS: Reasons = {
    "predicted_loss": "by the head beside the detector; it has no unit, only which is larger was learnt",
    "rank": "of the predicted loss among the candidates, 1 is the largest",
    "candidates": "how many unlabelled images were ranked: the whole pool, or a subset drawn at random",
}


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Train detector and head on the labelled images; predict the loss of every unlabelled one.

    Args:
        context: images, labels, detector and machine.
        seed: of initial weights, order and augmentation.
        options: see :class:`Options`.

    Raises:
        MgralError: nothing is labelled, or the training diverges.
    """
    from mgral.strategies.ll4al import training

    detector = context.fresh_detector(seed)
    head = training.train(detector, context, seed, options)
    ids = sorted(context.pool.unlabelled)
    predicted = training.predicted_losses(detector, head, context.cache, ids, context.device)
    return ImageScores(np.array(ids, np.int64), {"predicted_loss": predicted})


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of largest predicted loss, equal ones by id.

    Args:
        evidence: the ``image_scores`` of every unlabelled image.
        budget: images wanted.
        seed: draws the subset; without one, nothing is random.
        options: see :class:`Options`.

    Returns:
        Picks with the reasons ``predicted_loss`` (in no unit: only which is larger was learnt) and ``rank`` among the
            ``candidates``.

    Raises:
        MgralError: no image scores, or one that leaves an image out.
    """
    predicted = scores_of(evidence, "ll4al", TERMS)["predicted_loss"]
    ids = sorted(evidence.pool.unlabelled)
    rows = np.arange(len(ids))
    if options.subset and max(options.subset, budget) < len(ids):
        generator = random_streams.generator(seed, "subset", evidence.pool.cycle)
        rows = np.sort(generator.choice(rows, max(options.subset, budget), replace=False))
    best = rows[np.argsort(-predicted[rows], kind="stable")][:budget]
    return [
        Pick(
            ids[row],
            float(predicted[row]),
            {"predicted_loss": float(predicted[row]), "rank": rank, "candidates": len(rows)},
        )
        for rank, row in enumerate(best.tolist(), start=1)
    ]
