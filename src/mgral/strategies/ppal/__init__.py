"""ppal: uncertain images of difficult classes, of these the ones that stand for the others (Yang et al., CVPR 2024).

Two stages. An image's uncertainty is the sum over its detections of the binary entropy of the score, times a weight
that grows with the difficulty of the class:

    w = 1 + αβ ln(b·(1 - q) + 1),    b = e^(1/α) - 1

so w runs from 1 for a class without difficulty to 1 + β. q is the *quality* of a class: a moving average, over a
training, of p^ξ · IoU^(1-ξ), with p the probability of the right class at a positive prior and IoU the overlap of its
box with the object. The paper writes the same as difficulty d = 1 - q, an average of 1 - p^ξ · IoU^(1-ξ) that starts at
1; ``difficulty`` here is this d. It is measured while a detector of the experiment's kind is trained once more, as the
cycle's was; detections and their features are those of the cycle's own detector.

The most uncertain images, four times the budget, are candidates. Of these the medoids of as many clusters as the budget
has places are taken, under class-conditioned matching: each detection of one image is compared with the most similar
one (cosine of features) of the same class in the other, mean weighted by score, in both directions.

``variant`` selects the paper or the official code where they differ:

=======================  ==================================  ============================================
                         paper                               code
=======================  ==================================  ============================================
momentum of the average  0.99                                0.999
class absent in a step   difficulty stays                    quality is multiplied by the momentum
start of the medoids     k-means++                           greedy k-center from a random image
detections that count    all                                 in the uncertainty: √(width·height) > 16 pixels
                                                             of the image, sides in a ratio below 5
detections of a class    compared by their features          at distance 0, a fault of the code: it clears
of the same rank                                             the diagonal of every pair of images
=======================  ==================================  ============================================

The code reads a detection's feature at the centre of its box, from the pyramid level that found it; here it is the mean
over the box from the finest map, in both variants (:meth:`mgral.detection.base.Detector.describe`).

In both, a class that was absent for k steps has its momentum raised to the power of k + 1 when it returns, so that a
rare class is averaged over as many updates as a common one.

Choices of ours [R]:

- Positive priors are those of SSD's matching (overlap of at least 0.5, and each object's best) for every detector.
- Features are taken less their mean over the unlabelled pool (``centre``). They come from maps behind a ReLU, and
  uncentred ones lie so close together that distances were 0.08 ± 0.03 of 0 to 2, all of them alike. The code's features
  are those of a feature pyramid, which has no ReLU at its end.
- An image without detections is at distance 0 from another such and at the largest distance, 2, from the rest; in the
  public code it lies on top of every image.

Memory: the distances between candidates, 16·b² numbers in float32, twice while they are computed. For a budget of
1,000 that is 2 · 61 MiB, besides blocks of cosines of 32 MiB and the candidates' features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Bools, Detections, Doubles, Floats, ImageScores, Ints, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of
from mgral.strategies._features import described, mean_feature, unit
from mgral.strategies.ppal.medoids import k_center, k_medoids, plus_plus

if TYPE_CHECKING:
    from mgral.strategies._context import StrategyContext

NEEDS: frozenset[str] = frozenset({"image_scores", "detections"})
USES_FEATURES = True
USES_PRIORS = True
TERMS: Terms = {"difficulty": ("class",)}
REASONS: Reasons = {
    "uncertainty": "entropy of the detections, difficult classes weighing more; in nats",
    "rank": "of the uncertainty in the pool, 1 is the largest",
    "detections": "how many made the uncertainty",
    "hardest_class": "class that adds most to the uncertainty",
    "difficulty": "how hard that class was to learn, 0 to 1",
    "stands_for": "uncertain images of which it is the most typical, itself included",
}

FARTHEST = 2.0  # 1 - cosine of opposite features; also where nothing matches
BLOCK = 1 << 22  # cosines at a time: 32 MiB in float64
SMALLEST, LONGEST = 16.0, 5.0  # pixels, side of a square of that area; ratio of the sides [C]
MOMENTUM = {"paper": 0.99, "code": 0.999}


class Options(Settings):
    """Options of ppal; the paper's letters in brackets."""

    variant: Literal["paper", "code"] = Field(
        default="paper", description="as in the paper, or as in its code where that differs"
    )
    exponent: float = Field(
        default=0.6, ge=0, le=1, description="of the probability in the quality; 1 - it of IoU [xi]"
    )
    alpha: float = Field(default=0.3, gt=0, description="how fast the weight rises with difficulty")
    beta: float = Field(default=0.2, ge=0, description="largest weight of a class, beyond 1")
    min_score: float = Field(default=0.05, ge=0, le=1, description="detections below are left out")
    centre: bool = Field(default=True, description="subtract the pool's mean feature before cosines are taken")
    expand: float = Field(default=4.0, ge=1, description="candidates, as a multiple of the budget [delta]")


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Train a detector on the labelled images and measure the difficulty of the classes meanwhile.

    Args:
        context: images, labels, detector and machine.
        seed: of initial weights, order and augmentation.
        options: see :class:`Options`.

    Returns:
        ``difficulty`` [n, C] in 0..1, the same for every image: 1 for a class that was not seen.

    Raises:
        MgralError: nothing is labelled, or the training diverges.
    """
    from mgral.detection.priors import with_priors
    from mgral.strategies.ppal.difficulty import ClassDifficulty, measure

    ids = sorted(context.pool.unlabelled)
    if not ids:
        return ImageScores(np.zeros(0, np.int64), {"difficulty": np.zeros((0, len(context.classes)))})
    average = ClassDifficulty(len(context.classes), MOMENTUM[options.variant], options.variant == "code")
    difficulty = measure(with_priors(context.fresh_detector(seed)), average, context, seed, options.exponent)
    return ImageScores(np.array(ids, np.int64), {"difficulty": np.tile(difficulty, (len(ids), 1))})


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the medoids of the uncertain images; the uncertainty is the score.

    Args:
        evidence: the ``image_scores`` of every unlabelled image, and ``detections`` with features.
        budget: images wanted.
        seed: of the start of the medoids.
        options: see :class:`Options`.

    Returns:
        Picks with the reasons ``uncertainty`` (in nats), its ``rank`` in the pool, ``detections`` that made it,
            ``hardest_class`` (that adds most), ``difficulty`` of that class, and ``stands_for``, the candidates in the
            cluster, itself among them.

    Raises:
        MgralError: no image scores or no detections, or an image without an entry, without features, or with scores or
            features that are not finite.
    """
    ids = sorted(evidence.pool.unlabelled)
    detections = evidence.detections_of(ids, "strategy ppal")
    difficulty = np.clip(scores_of(evidence, "ppal", TERMS)["difficulty"], 0, 1)
    if not ids or budget < 1:
        return []
    seen = [described(detections, i, options.min_score) for i in ids]
    mean = mean_feature(detections, ids, options.min_score) if options.centre else np.zeros(())
    weights = class_weights(difficulty, options)
    shares = np.array([class_shares(one, row, options.variant) for one, row in zip(seen, weights, strict=True)])
    uncertainty = shares.sum(axis=1)
    order = np.argsort(-uncertainty, kind="stable")
    rank = np.empty(len(ids), np.int64)
    rank[order] = np.arange(1, len(ids) + 1)
    candidates = np.sort(order[: math.ceil(options.expand * budget)])
    medoids, stands_for = represent([seen[row] for row in candidates], mean, budget, seed, options.variant)
    picks = []
    for row, size in zip(candidates[medoids].tolist(), stands_for.tolist(), strict=True):
        hardest = int(shares[row].argmax())
        reason: dict[str, float | int | str] = {
            "uncertainty": float(uncertainty[row]),
            "rank": int(rank[row]),
            "detections": len(seen[row]),
            "hardest_class": evidence.classes[hardest] if len(seen[row]) else "none",
            "difficulty": float(difficulty[row, hardest]),
            "stands_for": size,
        }
        picks.append(Pick(ids[row], float(uncertainty[row]), reason))
    return sorted(picks, key=lambda pick: (-pick.score, pick.id))


def class_weights(difficulty: Doubles, options: Options) -> Doubles:
    """[…] 1 + αβ ln(b·d + 1) with b = e^(1/α) - 1, from 1 to 1 + β (the paper's equation of w)."""
    steepness = math.expm1(1 / options.alpha)
    weights: Doubles = 1 + options.alpha * options.beta * np.log1p(steepness * difficulty)
    return weights


def class_shares(detections: Detections, weights: Doubles, variant: str = "paper") -> Doubles:
    """[C] what the detections of each class add to an image's uncertainty, in nats; ``weights`` [C]."""
    from scipy.special import entr

    scores = np.clip(detections.scores.astype(np.float64), 0, 1)
    entropies = (entr(scores) + entr(1 - scores)) * weights[detections.labels]
    if variant == "code":
        entropies = entropies * _counts(detections.xyxy)
    return np.bincount(detections.labels, entropies, minlength=len(weights)).astype(np.float64)


def _counts(xyxy: Floats) -> Bools:
    """[n] whether the official code counts boxes [n, 4], in pixels of the original image."""
    width, height = (xyxy[:, 2:] - xyxy[:, :2]).astype(np.float64).T
    small, long = np.minimum(width, height), np.maximum(width, height)
    counts: Bools = (np.sqrt(width * height) > SMALLEST) & (long < LONGEST * small)
    return counts


def represent(seen: Sequence[Detections], mean: Doubles, count: int, seed: int, variant: str) -> tuple[Ints, Ints]:
    """Rows of ``count`` images, or of all if there are fewer, and the size of the cluster each one stands for."""
    if count >= len(seen):
        return np.arange(len(seen)), np.ones(len(seen), np.int64)
    distances = image_distances(seen, mean, equal_ranks=variant == "code")
    start = (plus_plus if variant == "paper" else k_center)(distances, count, seed)
    medoids, clusters = k_medoids(distances, start)
    return medoids, np.bincount(clusters, minlength=count)


def image_distances(seen: Sequence[Detections], mean: Doubles | float = 0.0, equal_ranks: bool = False) -> Floats:
    """Distances between images by class-conditioned matching.

    From image A to B: of each detection in A, 1 - the largest cosine to one of its class in B, or 2 if there is none;
    mean weighted by the scores in A. The distance is the mean of both ways.

    Args:
        seen: detections of m images, with features.
        mean: [D] or a single 0, subtracted from the features before cosines are taken.
        equal_ranks: whether detections of a class that have the same rank in their images count as equal, as in the
            public code.

    Returns:
        [m, m] float32 in 0..2, symmetric, 0 from each to itself. Rounded to six places, so that copies of an image are
            at the same distance whatever the order of the sums.
    """
    count = len(seen)
    image = np.repeat(np.arange(count), [len(one) for one in seen])  # [n] of all detections, in order of image
    rank = np.concatenate([np.arange(len(one)) for one in seen])  # [n] by score, in the detection's own image
    labels = np.concatenate([one.labels for one in seen])
    scores = np.concatenate([one.scores for one in seen]).astype(np.float64)
    features = np.concatenate([one.features for one in seen if one.features is not None]).astype(np.float64)
    features = unit(features - mean)

    gained = np.zeros((count, count), np.float32)  # Σ score·(1 + cosine) over the detections that find their class
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        there, starts = np.unique(image[rows], return_index=True)  # images with the class; where each begins in rows
        occupied = np.zeros((len(there), rank.max() + 1), np.bool_)  # whether an image has the class at a rank
        occupied[np.searchsorted(there, image[rows]), rank[rows]] = True
        step = max(BLOCK // len(rows), 1)
        for low in range(0, len(rows), step):
            part = rows[low : low + step]
            best = np.maximum.reduceat(features[part] @ features[rows].T, starts, axis=1)  # [part, there]
            if equal_ranks:
                best[occupied[:, rank[part]].T] = 1.0
            here, begins = np.unique(image[part], return_index=True)
            gained[np.ix_(here, there)] += np.add.reduceat(scores[part, None] * (1 + best), begins, axis=0)
    totals = np.bincount(image, scores, minlength=count)
    gained /= np.where(totals > 0, totals, 1.0)[:, None].astype(np.float32)
    distances: Floats = gained + gained.T
    np.subtract(FARTHEST, np.divide(distances, 2, out=distances), out=distances)
    np.clip(distances, 0, FARTHEST, out=distances).round(6, out=distances)
    distances[np.ix_(totals == 0, totals == 0)] = 0.0
    np.fill_diagonal(distances, 0.0)
    return distances
