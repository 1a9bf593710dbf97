"""mi_aod: the images on whose objects two classifiers disagree most (MI-AOD, MIAL; Yuan et al., CVPR 2021).

A detector of the experiment's kind is trained once more, with a second classifier and a head for multiple-instance
learning, through phases that minimise and maximise the classifiers' disagreement on unlabelled images
(:mod:`mgral.strategies.mi_aod.training`). It serves the scores: strategies are compared by the plain detector's mAP,
where the paper reports that of its own. ``report: own`` shows the latter as well, as a curve beside the plain one
(scored by the mean of both classifiers; the public code scores by the first alone).

An image's score is the mean over its anchors of largest discrepancy of the mean over classes of (p1 - p2)².

``variant`` selects the paper or the official code where they differ:

=======================  ==================================  ============================================
                         paper                               code
=======================  ==================================  ============================================
weights of anchors       one softmax over all anchors        one softmax for each level of the pyramid
an image's class score   sum over all anchors                maximum over levels of the sum over anchors
anchors' foreground      mean of both probabilities          probability of the mean logit
disagreement of a batch  mean over images                    sum over levels and images
unlabelled images        in one step with labelled ones      in a step of their own, after a labelled one
pseudo labels            images without any are left out     one image without any silences its batch
=======================  ==================================  ============================================

At the paper's weight of 0.5 the disagreement hardly moves the weights in the variant ``paper``: each of its terms is a
weighted mean over thousands of anchors. The code's sums make its losses some 40 times as large. On the small detector
of the demo the picks are nearly those of a weight of 0 in both (docs/strategies/mi_aod.md). The losses and the norm of
the gradient by step and phase are in a run's ``logs/score/<label>-<seed>-<cycle>.csv``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mgral.core.types import Detect, Detections, ImageScores, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of
from mgral.strategies.mi_aod.options import Options as Options

if TYPE_CHECKING:
    from mgral.strategies._context import StrategyContext

NEEDS: frozenset[str] = frozenset({"image_scores"})
USES_PRIORS = True
TERMS: Terms = {"discrepancy": (), "peak": ()}
REASONS: Reasons = {
    "discrepancy": "how far two classifiers disagree, 0 to 1; mean over the anchors where they do most",
    "rank": "of the discrepancy in the pool, 1 is the largest",
    "peak": "discrepancy of the one anchor where it is largest",
}


def reports_own(options: Options) -> bool:
    """Whether the detector with two classifiers is evaluated too."""
    return options.report == "own"


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Train the two classifiers and see how far they are apart on every unlabelled image.

    Args:
        context: images, labels, detector and machine.
        seed: of initial weights, order, augmentation and the unlabelled images trained on.
        options: see :class:`Options`.

    Raises:
        MgralError: nothing is labelled, the training diverges, or both classifiers would start alike.
    """
    if not context.pool.unlabelled:
        return ImageScores(np.zeros(0, np.int64), {name: np.zeros(0) for name in TERMS})
    return score_and_detect(context, seed, options)[0]


def score_and_detect(context: StrategyContext, seed: int, options: Options) -> tuple[ImageScores, Detect]:
    """What :func:`score` gives, and what the trained detector finds; it is trained even if nothing is unlabelled.

    Arguments and errors are those of :func:`score`.
    """
    from mgral.detection.priors import with_priors
    from mgral.strategies.mi_aod import training

    ids = sorted(context.pool.unlabelled)
    network = training.build(lambda given: with_priors(context.fresh_detector(given)), seed)
    training.train(network, context, seed, options)
    mean, peak = training.discrepancies(network, context.cache, ids, context.device, options.top)

    def detect(images: Sequence[int]) -> Mapping[int, Detections]:
        return training.detections(network, context.cache, images, context.evaluation, context.device)

    return ImageScores(np.array(ids, np.int64), {"discrepancy": mean, "peak": peak}), detect


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of largest discrepancy, equal ones by id.

    Args:
        evidence: the ``image_scores`` of every unlabelled image.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Returns:
        Picks with the reasons ``discrepancy`` (in 0..1), its ``rank`` in the pool, and ``peak``, that of the anchor of
            largest discrepancy.

    Raises:
        MgralError: no image scores, or one that leaves an image out.
    """
    terms = scores_of(evidence, "mi_aod", TERMS)
    ids = sorted(evidence.pool.unlabelled)
    best = np.argsort(-terms["discrepancy"], kind="stable")[:budget]
    picks = []
    for rank, row in enumerate(best.tolist(), start=1):
        score = float(terms["discrepancy"][row])
        picks.append(Pick(ids[row], score, {"discrepancy": score, "rank": rank, "peak": float(terms["peak"][row])}))
    return picks
