"""Whether a detection is true, by its score and by how many boxes were merged into it (the LIUS of PAL)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import entr, expit
from torchvision.ops import box_iou

from mgral.core import boxes
from mgral.core.types import Bools, Doubles, Ints
from mgral.detection.base import Prediction
from mgral.detection.inference import outputs
from mgral.detection.priors import PriorDetector, PriorOutput, with_priors
from mgral.strategies._context import StrategyContext

OVERLAP = 0.5  # IoU with an object of its class from which a detection is true
NEWTON = 50  # steps at most
PARAMETERS = 3  # score, count and a constant


@dataclass(frozen=True)
class Counted:
    """Detections of one image, or of several end to end.

    Attributes:
        xyxy: [n, 4] pixels of the detector's input.
        scores: [n] in 0..1, best first in an image.
        labels: [n] classes.
        counts: [n] boxes of its class, before the suppression, that overlap it more than the suppression allows; itself
            among them.
    """

    xyxy: Doubles
    scores: Doubles
    labels: Ints
    counts: Ints


@torch.inference_mode()
def counted(context: StrategyContext, ids: Sequence[int], min_score: float) -> Iterator[Counted]:
    """The detections of images, in the order of ``ids``, with the number of boxes merged into each."""
    detector, evaluation = with_priors(context.trained_detector()), context.evaluation
    for _, _, raw in outputs(detector, context.cache, ids, context.device):
        found = detector.predict(raw, min_score, evaluation.nms_iou, evaluation.max_detections)
        for k, one in enumerate(found):
            yield _with_counts(detector, raw.of_image(k), one, min_score, evaluation.nms_iou)


def _with_counts(
    detector: PriorDetector, raw: PriorOutput, found: Prediction, min_score: float, nms_iou: float
) -> Counted:
    probs = detector.foreground(detector.probabilities(raw.logits))[0]  # [P, C]
    alike = box_iou(found.xyxy, detector.decode(raw.offsets[0])) > nms_iou  # [n, P]
    counts = (alike & (min_score < probs[:, found.labels].T)).sum(1)
    return Counted(
        found.xyxy.double().cpu().numpy(),
        found.scores.double().cpu().numpy(),
        found.labels.cpu().numpy(),
        counts.clamp(min=1).cpu().numpy(),
    )


def examples(context: StrategyContext, min_score: float) -> tuple[Counted, Bools]:
    """The detections of the labelled images, and which of them are true."""
    ids = context.pool.labelled_ids
    seen, true = [], []
    for i, one in zip(ids, counted(context, ids, min_score), strict=True):
        truth = context.cache.boxes(i)
        kept, verdicts = judged(one, truth.xyxy.astype(np.float64), truth.labels, truth.ignore)
        seen.append(Counted(one.xyxy[kept], one.scores[kept], one.labels[kept], one.counts[kept]))
        true.append(verdicts[kept])
    if not seen:
        return Counted(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)), np.zeros(
            0, np.bool_
        )
    together = [np.concatenate([getattr(one, name) for one in seen]) for name in ("xyxy", "scores", "labels", "counts")]
    return Counted(*together), np.concatenate(true)


def judged(seen: Counted, xyxy: Doubles, labels: Ints, ignore: Bools) -> tuple[Bools, Bools]:
    """Which detections of an image count as examples [n], and which are true [n].

    Best first, each is true if an object of its class that no other has taken overlaps it by at least 0.5. One whose
    nearest such object is to be ignored is no example.
    """
    kept, true = np.ones(len(seen.scores), np.bool_), np.zeros(len(seen.scores), np.bool_)
    taken = np.zeros(len(labels), np.bool_)
    overlaps = boxes.iou(seen.xyxy, xyxy) if len(labels) else np.zeros((len(seen.scores), 0))
    for k in range(len(seen.scores)):
        fits = np.where((labels == seen.labels[k]) & ~taken, overlaps[k], 0.0)
        if len(fits) and fits.max() >= OVERLAP:
            best = int(fits.argmax())
            kept[k], true[k] = not ignore[best], not ignore[best]
            taken[best] = not ignore[best]
    return kept, true


@dataclass(frozen=True)
class Truth:
    """The fitted regressions.

    Attributes:
        weights: [C, 3] of score, count and constant, on standardised features; NaN where there is none and the score
            stands in.
        means, spreads: [2] of score and log count over the examples.
    """

    weights: Doubles
    means: Doubles
    spreads: Doubles

    def probabilities(self, seen: Counted) -> Doubles:
        """[n] probability that each detection is true, in 0..1."""
        logits = (_features(seen, self.means, self.spreads) * self.weights[seen.labels]).sum(axis=1)
        found: Doubles = np.where(np.isnan(logits), np.clip(seen.scores, 0, 1), expit(logits))
        return found


def fit(given: tuple[Counted, Bools], classes: int, penalty: float) -> Truth:
    """Fit a regression for each class; where all of a class are true, or none is, that of all classes stands in."""
    seen, true = given
    raw = np.stack([seen.scores, np.log(seen.counts)], axis=1)
    means = raw.mean(axis=0) if len(raw) else np.zeros(2)
    spreads = raw.std(axis=0) if len(raw) else np.ones(2)
    spreads = np.where(spreads > 0, spreads, 1.0)
    features = _features(seen, means, spreads)
    weights = np.tile(_weights(features, true, penalty), (classes, 1))
    for label in range(classes):
        of_class = seen.labels == label
        own = _weights(features[of_class], true[of_class], penalty)
        weights[label] = np.where(np.isnan(own), weights[label], own)
    return Truth(weights, means, spreads)


def _features(seen: Counted, means: Doubles, spreads: Doubles) -> Doubles:
    """[n, 3] standardised score and log count, and 1."""
    raw = np.stack([seen.scores, np.log(seen.counts)], axis=1)
    return np.hstack([(raw - means) / spreads, np.ones((len(raw), 1))])


def _weights(features: Doubles, true: Bools, penalty: float) -> Doubles:
    """[3] of a logistic regression with penalty/2·|w|², the constant left free; NaN without both outcomes.

    Newton's method from 0; the penalty and two outcomes make the optimum unique.
    """
    weights = np.zeros(PARAMETERS)
    if not true.any() or true.all():
        return np.full(PARAMETERS, np.nan)
    ridge = penalty * np.diag([1.0, 1.0, 0.0])
    for _ in range(NEWTON):
        p = expit(features @ weights)
        gradient = features.T @ (p - true) + ridge @ weights
        hessian = (features * (p * (1 - p))[:, None]).T @ features + ridge + 1e-9 * np.eye(PARAMETERS)
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()) / 4)  # no leap where the curve is flat
        if np.abs(step).max() < 1e-10:
            break
    return weights


def bits(probabilities: Doubles) -> Doubles:
    """[n] entropy of a yes or no of these probabilities, in bits, 0..1."""
    found: Doubles = (entr(probabilities) + entr(1 - probabilities)) / math.log(2)
    return found
