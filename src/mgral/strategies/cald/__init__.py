"""cald: the images in which the detector is least consistent when they are altered (Yu et al., WACV 2022).

Two stages. Each unlabelled image is also seen flipped, with parts cut out, smaller and turned. A detection in the image
itself is held against the one that overlaps it most in the altered image:

    m = IoU + ½ (1 - JS(q, q'))(p + p'),    0 <= m <= 2,

with scores p and class distributions q, JS in bits. The distance |m - β| is small where the detector is in two minds
and large where it agrees with itself fully or sees nothing again, which tells little. An image counts as its nearest
detection, mean over the alterations; the smallest distances become candidates, somewhat more than the budget. From
these, second, the batch is taken whose classes differ most from what is labelled, by JS again.

Choices of ours where the paper leaves it open [R]:

- The detector's input has one size: the smaller and the turned image lie on grey, and a box that is turned becomes
  the upright box around it.
- Cut out are two rectangles with sides of 5 to 20 % of the image, drawn for each image by seed and id, and made grey.
- A detection that overlaps none in the altered image has m = 0.
- An image without detections has no nearest one; ``empty`` says what it counts as.
- An image's classes are the softmax of its best score per class, altered images included; the labelled ones' are the
  softmax of the mean number of boxes per class and image, uniform if nothing is labelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field
from scipy.special import entr, softmax

from mgral.config.base import Settings
from mgral.core import boxes
from mgral.core.types import Boxes, Doubles, ImageScores, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of

if TYPE_CHECKING:
    from mgral.strategies._context import StrategyContext
    from mgral.strategies.cald.views import ViewDetections

ALTERATIONS = ("flip", "cut_out", "resize", "rotation")

NEEDS: frozenset[str] = frozenset({"image_scores", "labels"})
TERMS: Terms = {**dict.fromkeys(ALTERATIONS, ()), "classes": ("class",)}
REASONS: Reasons = {
    "distance": "mean of those under the alterations; the smaller, the more in two minds the detector",
    "rank": "of the distance in the pool, 1 is the smallest",
    "flip": "distance when the image is flipped",
    "cut_out": "distance when parts of the image are cut out",
    "resize": "distance when the image is made smaller",
    "rotation": "distance when the image is turned",
    "top_class": "class of the best score, altered images included",
}


class Options(Settings):
    """Options of cald; the paper's letters in brackets."""

    min_score: float = Field(default=0.05, ge=0, le=1, description="detections below are left out")
    base: float = Field(default=1.3, ge=0, le=2, description="consistency m that tells most [beta]")
    expand: float = Field(
        default=0.2, ge=0, description="candidates of the first stage beyond the budget, as a share of it [delta]"
    )
    empty: Literal["last", "first"] = Field(
        default="last", description="image without detection: the largest distance there is, or 0"
    )


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Run the cycle's detector over every unlabelled image and its alterations.

    Args:
        context: images, detector and machine.
        seed: of what is cut out.
        options: see :class:`Options`.

    Returns:
        By alteration the distance of each image [n], and ``classes`` [n, C], the best score of each class.

    Raises:
        MgralError: the detector cannot be loaded.
    """
    from mgral.strategies.cald import views

    ids = sorted(context.pool.unlabelled)
    distances = np.zeros((len(ids), len(ALTERATIONS)))
    classes = np.zeros((len(ids), len(context.classes)))
    for row, (plain, altered) in enumerate(views.detect_in_views(context, ids, seed, options.min_score)):
        for seen in (plain, *(seen for _, seen in altered)):
            np.maximum.at(classes[row], seen.labels, seen.scores)
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
    labels = evidence.labels_for("strategy cald")
    terms = scores_of(evidence, "cald", TERMS)
    ids = sorted(evidence.pool.unlabelled)
    distances = np.mean([terms[name] for name in ALTERATIONS], axis=0)
    candidates = np.argsort(distances, kind="stable")[: math.ceil((1 + options.expand) * budget)]
    known = labelled_classes(labels.values(), len(evidence.classes))
    divergences = jensen_shannon(softmax(terms["classes"][candidates], axis=1), known)
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


def image_distance(plain: ViewDetections, reference: Doubles, altered: ViewDetections, options: Options) -> float:
    """Smallest |m - β| over an image's detections; for an image without any what ``empty`` says.

    Args:
        plain: the image's detections.
        reference: [n, 4] their boxes, as the alteration moves them.
        altered: detections in the altered image.
        options: base and policy.
    """
    if not len(plain.scores):
        return 0.0 if options.empty == "first" else max(options.base, 2 - options.base)
    return float(np.abs(consistency(plain, reference, altered) - options.base).min())


def consistency(plain: ViewDetections, reference: Doubles, altered: ViewDetections) -> Doubles:
    """[n] m of each detection, in 0..2; arguments as in :func:`image_distance`."""
    if not len(altered.scores):
        return np.zeros(len(plain.scores))
    overlaps = boxes.iou(reference, altered.xyxy)  # [n, m]
    match = overlaps.argmax(axis=1)
    likeness = 1 - jensen_shannon(plain.distributions, altered.distributions[match])
    overlap = overlaps.max(axis=1)
    found: Doubles = np.where(overlap > 0, overlap + likeness * (plain.scores + altered.scores[match]) / 2, 0)
    return found


def jensen_shannon(p: Doubles, q: Doubles) -> Doubles:
    """[…] Jensen-Shannon divergence of distributions […, K], in bits, 0..1: H((p+q)/2) - (H(p) + H(q))/2."""
    nats = entr((p + q) / 2).sum(axis=-1) - (entr(p).sum(axis=-1) + entr(q).sum(axis=-1)) / 2
    bits: Doubles = np.clip(nats / math.log(2), 0, 1)
    return bits


def labelled_classes(labels: Iterable[Boxes], classes: int) -> Doubles:
    """[C] the labelled pool's distribution of classes; boxes to ignore do not count."""
    counts = [np.bincount(one.labels[~one.ignore], minlength=classes) for one in labels]
    distribution: Doubles = softmax(np.mean(counts, axis=0) if counts else np.zeros(classes))
    return distribution
