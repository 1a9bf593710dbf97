"""meh_hua: images on which the evidence for the detections is thin (MEH and HUA; Park et al., ICLR 2023).

A detector of the experiment's kind is trained once more, with a head that predicts each box's classification loss
(the model evidence head, MEH): the larger the loss, the thinner the evidence. Class probabilities p times evidence λ
are the parameters of a Dirichlet distribution, α = λ p, whose mutual information with the class is the epistemic
uncertainty of a box. Hierarchical uncertainty aggregation (HUA) goes from boxes to the image along their attributes:
mean over the boxes of a detected object, a level of the pyramid and a class; sum over classes; maximum over levels; sum
over objects.

What differs from paper and code:

- λ_i = 25 · mean_j ℓ̂_j / ℓ̂_i with predicted losses ℓ̂, the mean over the boxes of an image and level [code].
- The mutual information is computed in closed form; the code samples it 500 times.
- The detector keeps its own loss and its background class. The code trains a softmax over the objects' classes by a
  focal loss, and repeats the training with pseudo labels.
- The head's target is the detector's own kind of loss at the boxes that were matched with an object: cross-entropy
  (softmax) or the focal loss of all classes (sigmoid) [R]; no gradient flows from the head into the detector.
- The head has one layer for each map, and ends in softplus: the code's ReLU can predict 0 for all and stay there [R].
- An image without detection above ``min_score`` counts its best one; the code gives it 0 [R].
- Probabilities of a sigmoid detector are made a distribution (:mod:`mgral.strategies._distributions`) [R].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mgral.core.types import ImageScores, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of
from mgral.strategies.meh_hua.options import Options as Options

if TYPE_CHECKING:
    from mgral.strategies._context import StrategyContext

NEEDS: frozenset[str] = frozenset({"image_scores"})
USES_PRIORS = True
TERMS: Terms = {"uncertainty": (), "objects": ()}
REASONS: Reasons = {
    "uncertainty": "epistemic, of the image's objects together; in nats, the larger, the thinner the evidence",
    "objects": "how many detections it was summed over",
}


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Train detector and evidence head on the labelled images, then aggregate the uncertainty of each unlabelled one.

    Args:
        context: images, labels, detector and machine.
        seed: of initial weights, order and augmentation.
        options: see :class:`Options`.

    Raises:
        MgralError: nothing is labelled, or the training diverges.
    """
    from mgral.detection.priors import with_priors
    from mgral.strategies.meh_hua import aggregation, evidence_head

    detector = with_priors(context.fresh_detector(seed))
    head = evidence_head.train(detector, context, seed, options)
    ids = sorted(context.pool.unlabelled)
    images = evidence_head.boxes_of_objects(detector, head, context, ids, options)
    found = [aggregation.image_uncertainty(one, options.evidence) for one in images]
    uncertainty, objects = np.array(found, np.float64).reshape(-1, len(TERMS)).T
    return ImageScores(np.array(ids, np.int64), {"uncertainty": uncertainty, "objects": objects})


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of largest uncertainty, equal ones by id.

    Args:
        evidence: the ``image_scores`` of every unlabelled image.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no image scores, or some that leave an image out.
    """
    terms = scores_of(evidence, "meh_hua", TERMS)
    ids = sorted(evidence.pool.unlabelled)
    best = np.argsort(-terms["uncertainty"], kind="stable")[:budget].tolist()
    reasons = [{name: float(term[row]) for name, term in terms.items()} for row in best]
    return [Pick(ids[row], why["uncertainty"], why) for row, why in zip(best, reasons, strict=True)]
