"""pal: uncertain instances of rare classes, by what the detector outputs alone (PAL, CVPR 2026, arXiv 2605.10349).

Whether a detection is true is predicted, class by class, by a logistic regression on its score and on the number of
boxes that non-maximum suppression merged into it, fitted on the detections of labelled images. The entropy of that
probability is the instance's uncertainty (LIUS). Rare classes get larger budgets, b_c ∝ r_c with

    r_c = 1 - ½ (n_l / N_l + n_u / N_u),

n_l of N_l labelled boxes and n_u of N_u detections in unlabelled images being of class c. Of each class the best 2·b_c
images by LIUS are ranked again by 0.9 LIUS + 0.02 RCSP + 0.04 (CWIE + RCDI), and b_c are picked.

There is no official code, and the paper's text was not at hand: a reconstruction from its description [R]. Ours are

- the features' scale (standardised; the count by its logarithm), the penalty, and what stands in where a class has
  true or false detections alone: the regression over all classes, then the score itself;
- LIUS of a class in an image: the largest of its detections, in bits;
- CWIE: mean entropy of an image's detections, each weighted by the r of its class;
- RCDI: share of Σ r over the classes that are detected in an image;
- RCSP: 1 - the largest cosine, between sums of scores by class, to a candidate that LIUS ranks above; 1 for the first;
- the rarest class picks first; places that are left go to the best images of any class.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mgral.core.types import Boxes, Doubles, ImageScores, Ints, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons, Terms, scores_of
from mgral.strategies._features import unit
from mgral.strategies.pal.options import Options as Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mgral.strategies._context import StrategyContext

NEEDS: frozenset[str] = frozenset({"image_scores", "labels"})
USES_PRIORS = True
TERMS: Terms = dict.fromkeys(("uncertainty", "entropy", "detections", "objects"), ("class",))
REASONS: Reasons = {
    "class": "for whose budget the image was picked, or any for a place that was left",
    "uncertainty": "of that class's least certain detection, in bits: whether it is true",
    "rarity": "of that class, 0 to 1; the larger, the more places it has",
    "image_entropy": "mean uncertainty of the detections, rare classes weighing more",
    "rare_classes": "share of the rarity of all classes that is detected in the image",
    "novelty": "1 - similarity to the candidates ranked above, by classes detected",
}


def score(context: StrategyContext, seed: int, options: Options) -> ImageScores:
    """Fit the regressions on labelled images and apply them to every unlabelled one.

    Args:
        context: images, labels and the cycle's detector.
        seed: unused, nothing is random.
        options: score from which detections count, and the penalty.

    Returns:
        By class, of each image [n, C]: ``uncertainty`` (largest, in bits), ``entropy`` (sum), ``detections`` (number)
            and ``objects`` (sum of scores).

    Raises:
        MgralError: the detector cannot be loaded.
    """
    from mgral.strategies.pal import truth

    ids, classes = sorted(context.pool.unlabelled), len(context.classes)
    terms = {name: np.zeros((len(ids), classes)) for name in TERMS}
    if ids:
        model = truth.fit(truth.examples(context, options.min_score), classes, options.penalty)
        for row, seen in enumerate(truth.counted(context, ids, options.min_score)):
            entropies = truth.bits(model.probabilities(seen))
            np.maximum.at(terms["uncertainty"][row], seen.labels, entropies)
            np.add.at(terms["entropy"][row], seen.labels, entropies)
            np.add.at(terms["detections"][row], seen.labels, 1.0)
            np.add.at(terms["objects"][row], seen.labels, seen.scores)
    return ImageScores(np.array(ids, np.int64), terms)


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick each class's budget, the rarest class first, then fill up; the combined score is the score.

    Args:
        evidence: the ``image_scores`` of every unlabelled image, and ``labels``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Raises:
        MgralError: no labels, no image scores, or some that leave an image out.
    """
    labels = evidence.labels_for("strategy pal")
    terms = scores_of(evidence, "pal", TERMS)
    ids = np.array(sorted(evidence.pool.unlabelled), np.int64)
    if not len(ids) or budget < 1:
        return []
    rarity = rarities(labels.values(), terms["detections"].sum(axis=0))
    images = _Images(terms, rarity, options)
    picks: list[Pick] = []
    left = np.ones(len(ids), np.bool_)
    places = budgets(rarity, min(budget, len(ids)))
    for label in np.argsort(-rarity, kind="stable").tolist():
        candidates = np.flatnonzero(left & (terms["detections"][:, label] > 0))
        chosen = images.best(candidates, terms["uncertainty"][:, label], int(places[label]))
        picks += [Pick(int(ids[row]), score, {"class": evidence.classes[label], **why}) for row, score, why in chosen]
        left[[row for row, _, _ in chosen]] = False
    rest = images.best(np.flatnonzero(left), terms["uncertainty"].max(axis=1), min(budget, len(ids)) - len(picks))
    picks += [Pick(int(ids[row]), score, {"class": "any", **why}) for row, score, why in rest]
    named = dict(zip(evidence.classes, rarity.tolist(), strict=True))
    told = [
        Pick(one.id, one.score, {**one.reason, "rarity": named.get(str(one.reason["class"]), float(rarity.mean()))})
        for one in picks
    ]
    return sorted(told, key=lambda pick: (-pick.score, pick.id))


def rarities(labels: Iterable[Boxes], detected: Doubles) -> Doubles:
    """[C] r_c of the classes, in 0..1.

    Args:
        labels: ground truth of the labelled images; boxes to ignore do not count.
        detected: [C] detections of each class in the unlabelled images.
    """
    counts = np.zeros(len(detected))
    for boxes in labels:
        counts += np.bincount(boxes.labels[~boxes.ignore], minlength=len(detected))
    shares = [one / max(one.sum(), 1e-12) for one in (counts, detected)]
    found: Doubles = 1 - (shares[0] + shares[1]) / 2
    return found


def budgets(rarity: Doubles, budget: int) -> Ints:
    """[C] places of the classes, in proportion to r_c, by largest remainder; ties to the smaller class."""
    total = float(rarity.sum())
    shares = budget * (rarity / total if total > 0 else np.full(len(rarity), 1 / len(rarity)))
    places: Ints = np.floor(shares).astype(np.int64)
    order = np.argsort(-(shares - places), kind="stable")
    places[order[: budget - int(places.sum())]] += 1
    return places


class _Images:
    """What ranks candidates besides their uncertainty."""

    def __init__(self, terms: dict[str, Doubles], rarity: Doubles, options: Options) -> None:
        self._options = options
        weights = terms["detections"] @ rarity
        self._entropy = np.divide(terms["entropy"] @ rarity, weights, out=np.zeros(len(weights)), where=weights > 0)
        self._rare = ((terms["detections"] > 0) @ rarity) / max(float(rarity.sum()), 1e-12)
        self._directions = unit(terms["objects"])

    def best(self, rows: Ints, uncertainty: Doubles, count: int) -> list[tuple[int, float, dict[str, float]]]:
        """Rows, combined scores and reasons of the best ``count`` of some images; of equal ones the first."""
        if count < 1:
            return []
        ranked = rows[np.argsort(-uncertainty[rows], kind="stable")][: math.ceil(self._options.expand * count)]
        directions = self._directions[ranked]
        likeness = np.tril(directions @ directions.T, -1)  # to those above; scores are not negative, so nor is it
        novelty = 1 - likeness.max(axis=1, initial=0.0)
        image = self._entropy[ranked] + self._rare[ranked]
        weights = self._options.instance, self._options.similarity, self._options.image
        scores = weights[0] * uncertainty[ranked] + weights[1] * novelty + weights[2] * image
        chosen = np.lexsort((ranked, -scores))[:count]
        return [
            (
                int(ranked[k]),
                float(scores[k]),
                {
                    "uncertainty": float(uncertainty[ranked[k]]),
                    "image_entropy": float(self._entropy[ranked[k]]),
                    "rare_classes": float(self._rare[ranked[k]]),
                    "novelty": float(novelty[k]),
                },
            )
            for k in chosen.tolist()
        ]
