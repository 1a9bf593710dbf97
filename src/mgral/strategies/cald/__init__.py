"""cald: the images in which the detector is least consistent when they are altered (Yu et al., WACV 2022).

Two stages. Each unlabelled image is also seen flipped, with parts cut out, smaller and turned. A detection in the image
itself is compared with the one that overlaps it most in the altered image:

    m = IoU + ½ (1 - JS(q, q'))(p + p'),    0 <= m <= 2,

with scores p and class distributions q. The distance |m - β| is small where the detector is undecided, and large where
it agrees with itself fully or detects nothing again, which tells little. An image counts as its nearest detection, mean
over the alterations; the smallest distances become candidates, somewhat more than the budget. From these, second, the
batch is taken whose classes differ most from what is labelled, by JS again.

``variant`` selects the paper or the official code where they differ:

=========================  ====================================  ==========================================
                           paper (ours [R] where it is silent)   code
=========================  ====================================  ==========================================
altered, no detection      m = 0, so the distance is β           distance 0
plain, no detection        ``empty``; by default the largest     distance 0, and first in the batch
JS in m                    bits, 0 to 1                          nats, 0 to ln 2
detection overlaps none    m = 0                                 compared with the best-scored detection
largest distance           max(β, 2 - β)                         1
an image's classes         best score in any view                mean over the views of the best score
cut-outs                   anywhere, grey                        black; the box covered most by one is
                                                                 covered between 10 and 40 %, in 50 attempts
more than 40 detections    all                                   50 of them, evenly by rank
=========================  ====================================  ==========================================

Choices of ours in both [R]:

- The detector's input has one size: the smaller and the turned image lie on grey, and a box that is turned becomes
  the upright box around it. (The code enlarges the canvas before it turns and scales it back.)
- Cut out are two rectangles with sides of 5 to 20 % of the image, drawn for each image by seed and id.
- An image's classes are the softmax of its scores per class; the labelled ones' are the softmax of the mean number of
  boxes per class and image, uniform if nothing is labelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mgral.core import boxes
from mgral.core.types import Boxes, Doubles, ImageScores, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of
from mgral.strategies.cald.options import Options as Options

if TYPE_CHECKING:
    from mgral.strategies._context import StrategyContext
    from mgral.strategies.cald.views import ViewDetections

ALTERATIONS = ("flip", "cut_out", "resize", "rotation")

NEEDS: frozenset[str] = frozenset({"image_scores", "labels"})
TERMS: Terms = {**dict.fromkeys(ALTERATIONS, ()), "classes": ("class",)}
REASONS: Reasons = {
    "distance": "mean of those under the alterations; the smaller, the less decided the detector",
    "rank": "of the distance in the pool, 1 is the smallest",
    "flip": "distance when the image is flipped",
    "cut_out": "distance when parts of the image are cut out",
    "resize": "distance when the image is made smaller",
    "rotation": "distance when the image is turned",
    "top_class": "class of the best score, altered images included",
}


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Run the cycle's detector over every unlabelled image and its alterations.

    Args:
        context: images, detector and machine.
        seed: of what is cut out.
        options: see :class:`Options`.

    Returns:
        By alteration the distance of each image [n], and ``classes`` [n, C], the scores of each class.

    Raises:
        MgralError: the detector cannot be loaded.
    """
    from mgral.strategies.cald import views

    ids = sorted(context.pool.unlabelled)
    distances = np.zeros((len(ids), len(ALTERATIONS)))
    classes = np.zeros((len(ids), len(context.classes)))
    for row, (plain, altered) in enumerate(views.detect_in_views(context, ids, seed, options)):
        best = np.zeros((1 + len(altered), len(context.classes)))  # score of each class in each view
        for view, seen in zip(best, (plain, *(seen for _, seen in altered)), strict=True):
            np.maximum.at(view, seen.labels, seen.scores)
        classes[row] = image_classes(best, options.variant)
        for column, (reference, seen) in enumerate(altered):
            distances[row, column] = image_distance(plain, reference, seen, options)
    return ImageScores(
        np.array(ids, np.int64), {**dict(zip(ALTERATIONS, distances.T, strict=True)), "classes": classes}
    )


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the inconsistent images whose classes are least like the labelled ones'; that divergence is the score.

    Args:
        evidence: the ``image_scores`` of every unlabelled image, and ``labels``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Returns:
        Picks with the reasons ``distance`` (mean of those that follow, by alteration), its ``rank`` in the pool (1 is
            the smallest) and ``top_class``, the class of best score. Of equal divergences the smaller distance is
            picked, then the smaller id.

    Raises:
        MgralError: no labels, no image scores, or one that leaves an image out.
    """
    from scipy.special import softmax

    labels = evidence.labels_for("strategy cald")
    terms = scores_of(evidence, "cald", TERMS)
    ids = sorted(evidence.pool.unlabelled)
    distances = np.mean([terms[name] for name in ALTERATIONS], axis=0)
    candidates = np.argsort(distances, kind="stable")[: math.ceil((1 + options.expand) * budget)]
    known = labelled_classes(labels.values(), len(evidence.classes))
    divergences = jensen_shannon(softmax(terms["classes"][candidates], axis=1), known)
    if options.variant == "code":
        divergences[~terms["classes"][candidates].any(axis=1)] = 1.0  # nothing detected: the largest there is
    chosen = np.lexsort((candidates, distances[candidates], -divergences))[:budget]
    picks = []
    for rank in chosen.tolist():
        row = candidates[rank]
        best = int(terms["classes"][row].argmax())
        reason: dict[str, float | int | str] = {
            "distance": float(distances[row]),
            "rank": rank + 1,
            **{name: float(terms[name][row]) for name in ALTERATIONS},
            "top_class": evidence.classes[best] if terms["classes"][row, best] > 0 else "none",
        }
        picks.append(Pick(ids[row], float(divergences[rank]), reason))
    return sorted(picks, key=lambda pick: (-pick.score, pick.id))


def image_classes(best: Doubles, variant: str) -> Doubles:
    """[C] scores of an image's classes.

    Args:
        best: [views, C] the best score of each class in each view, that of the image itself first.
        variant: paper: the best of any view. code: their mean; 0 where the image itself shows nothing.
    """
    if variant == "paper":
        best_of_any: Doubles = best.max(axis=0)
        return best_of_any
    mean: Doubles = best.mean(axis=0) * best[0].any()
    return mean


def image_distance(plain: ViewDetections, reference: Doubles, altered: ViewDetections, options: Options) -> float:
    """Smallest |m - β| over an image's detections.

    Args:
        plain: the image's detections.
        reference: [n, 4] their boxes, as the alteration moves them.
        altered: detections in the altered image.
        options: variant, base and what an image without detections counts as.
    """
    if options.variant == "code":
        if not (len(plain.scores) and len(altered.scores)):
            return 0.0
        return min(1.0, float(np.abs(consistency(plain, reference, altered, "code") - options.base).min()))
    if not len(plain.scores):
        return 0.0 if options.empty == "first" else max(options.base, 2 - options.base)
    return float(np.abs(consistency(plain, reference, altered) - options.base).min())


def consistency(plain: ViewDetections, reference: Doubles, altered: ViewDetections, variant: str = "paper") -> Doubles:
    """[n] m of each detection, in 0..2; arguments as in :func:`image_distance`."""
    if not len(altered.scores):
        return np.zeros(len(plain.scores))
    overlaps = boxes.iou(reference, altered.xyxy)  # [n, m]
    match = overlaps.argmax(axis=1)  # of a detection that overlaps none the first, which has the best score
    divergence = jensen_shannon(plain.distributions, altered.distributions[match])
    if variant == "code":
        divergence = divergence * math.log(2)
    overlap = overlaps.max(axis=1)
    found: Doubles = overlap + (1 - divergence) * (plain.scores + altered.scores[match]) / 2
    return found if variant == "code" else np.where(overlap > 0, found, 0)


def jensen_shannon(p: Doubles, q: Doubles) -> Doubles:
    """[…] Jensen-Shannon divergence of distributions […, K], in bits, 0..1: H((p+q)/2) - (H(p) + H(q))/2."""
    from scipy.special import entr

    nats = entr((p + q) / 2).sum(axis=-1) - (entr(p).sum(axis=-1) + entr(q).sum(axis=-1)) / 2
    bits: Doubles = np.clip(nats / math.log(2), 0, 1)
    return bits


def labelled_classes(labels: Iterable[Boxes], classes: int) -> Doubles:
    """[C] the labelled pool's distribution of classes; boxes to ignore do not count."""
    from scipy.special import softmax

    counts = [np.bincount(one.labels[~one.ignore], minlength=classes) for one in labels]
    distribution: Doubles = softmax(np.mean(counts, axis=0) if counts else np.zeros(classes))
    return distribution
