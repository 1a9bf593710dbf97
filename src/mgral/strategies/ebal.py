"""ebal: entropy without repetition inside an image, prototypes without repetition between images (Wu et al. 2022).

Two stages. Entropy-NMS scores an image by the entropy of its detections, counting of several that look alike only
the most uncertain. Then images are taken in order of score where they show some class in a new way, and a class of
which there are few labels, until the budget is spent; places left over go to the highest scores.

There is no official code [R]. Where the paper leaves it open:

- Features are those of mgral.core.types.Detections less their mean over the unlabelled pool (``centre``). They come
  from maps behind a ReLU, so uncentred ones have large cosines from the start: on the generated images 82 and 94 % of
  the pairs of a class in an image exceeded the paper's 0.5 (two seeds), centred ones 41 and 81 %.
- A prototype is taken over all detections of a class in an image, those that entropy-NMS drops among them.
- Prototypes are compared with those of the batch and not of the labelled pool.
- An accepted image uses up a place in the quota of each minority class that it shows above the threshold. When all
  quotas are used up, prototypes alone decide.

Memory is that of the detections and of the batch's prototypes, at most b·C·64 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Boxes, Detections, Doubles, Ints, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons
from mgral.strategies._features import described, mean_feature, unit

NEEDS: frozenset[str] = frozenset({"detections", "labels"})
USES_FEATURES = True
REASONS: Reasons = {
    "instances": "detections that counted: of those that look alike, only the least certain",
    "by": "diversity, for what looks new; or score, for a place left over",
    "likeness": "cosine of the class that looks newest to the batch at that time; -1: the first of its class",
    "minority": "largest score of a minority class that still had places",
}

Prototypes = dict[int, Doubles]  # of one image, by class


class Options(Settings):
    """Options of ebal; the paper's letters in brackets."""

    min_score: float = Field(default=0.01, ge=0, le=1, description="detections below are left out")
    centre: bool = Field(default=True, description="subtract the pool's mean feature before cosines are taken")
    same_object: float = Field(
        default=0.5, ge=-1, le=1, description="cosine above which detections of a class repeat each other [T_enms]"
    )
    same_class: float = Field(
        default=0.7, ge=-1, le=1, description="cosine of prototypes below which a class looks new [T_intra]"
    )
    seen: float = Field(
        default=0.3, ge=0, le=1, description="score above which an image shows a minority class [T_inter]"
    )
    minority: float = Field(default=0.5, gt=0, le=1, description="share of the classes, rarest first [alpha]")
    quota: float = Field(default=0.75, ge=0, le=1, description="share of the budget for minority classes [beta]")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick diverse images of large entropy; the entropy is the score.

    Args:
        evidence: ``detections``, with features, of every unlabelled image, and ``labels``.
        budget: images wanted.
        seed: unused, nothing is random.
        options: see :class:`Options`.

    Returns:
        Picks with the reasons ``instances`` (detections that counted), ``by`` (``diversity``, or ``score`` for a place
            left over), ``likeness`` (cosine of the class that looks newest to the nearest prototype in the batch at
            that time) and ``minority`` (largest score of a minority class with a place left).

    Raises:
        MgralError: no detections or no labels, or an image without an entry, without features or with scores or
            features that are not finite.
    """
    labels = evidence.labels_for("strategy ebal")
    ids = sorted(evidence.pool.unlabelled)
    detections = evidence.detections_of(ids, "strategy ebal")
    mean = mean_feature(detections, ids, options.min_score) if options.centre else np.zeros(())
    entropies = {i: entropy_nms(_seen(detections, i, mean, options), options.same_object) for i in ids}
    order = sorted(ids, key=lambda i: (-entropies[i][0], i))
    quotas = minority_quotas(labels.values(), len(evidence.classes), budget, options)

    batch = DiverseBatch(options.same_class, options.seen, quotas)
    accepted: dict[int, dict[str, float | int | str]] = {}
    rejected: dict[int, dict[str, float | int | str]] = {}
    for i in order:
        if len(accepted) == budget:
            break
        seen = _seen(detections, i, mean, options)
        prototypes, scores = class_prototypes(seen), top_scores(seen)
        new, reason = batch.judge(prototypes, scores)
        (accepted if new else rejected)[i] = {"instances": entropies[i][1], "by": "diversity", **reason}
        if new:
            batch.take(prototypes, scores)
    left_over = list(rejected)[: max(budget - len(accepted), 0)]
    chosen = accepted | {i: {**rejected[i], "by": "score"} for i in left_over}
    return [Pick(i, entropies[i][0], chosen[i]) for i in order if i in chosen]


@dataclass(frozen=True)
class Instances:
    """The detections of an image that count.

    Attributes:
        scores: [n] in 0..1, best first.
        labels: [n] classes.
        entropies: [n] of a yes or no of that score, in nats.
        features: [n, D], less the pool's mean.
    """

    scores: Doubles
    labels: Ints
    entropies: Doubles
    features: Doubles


def entropy_nms(seen: Instances, same: float) -> tuple[float, int]:
    """An image's entropy without repetition, and how many detections made it [P, algorithm 1].

    The detection of largest entropy is counted, and those of its class whose cosine to it exceeds ``same`` are
    dropped; and again, until none is left. Of equal entropies the first, of the better score, goes first.
    """
    left = np.argsort(-seen.entropies, kind="stable")
    directions = unit(seen.features)
    total, counted = 0.0, 0
    while len(left):
        first = left[0]
        total, counted = total + float(seen.entropies[first]), counted + 1
        repeats = (seen.labels[left] == seen.labels[first]) & (directions[left] @ directions[first] > same)
        repeats[0] = True
        left = left[~repeats]
    return total, counted


def class_prototypes(seen: Instances) -> Prototypes:
    """For each class of an image the mean of its features weighted by entropy, Σ H·f / Σ H; unweighted if all are 0."""
    prototypes = {}
    for label in np.unique(seen.labels).tolist():
        rows = seen.labels == label
        weights = seen.entropies[rows] if seen.entropies[rows].any() else None
        prototypes[label] = np.average(seen.features[rows], axis=0, weights=weights)
    return prototypes


def top_scores(seen: Instances) -> dict[int, float]:
    """The largest score of each class in an image."""
    return {label: float(seen.scores[seen.labels == label].max()) for label in np.unique(seen.labels).tolist()}


def minority_quotas(labels: Iterable[Boxes], classes: int, budget: int, options: Options) -> dict[int, int]:
    """Places for each minority class: the rarest ⌈α·C⌉ among the labels, β·b shared out equally and rounded up.

    Boxes to ignore do not count. Equally rare classes go by index, so with nothing labelled the first ones are it.
    """
    counts = np.zeros(classes, np.int64)
    for boxes in labels:
        counts += np.bincount(boxes.labels[~boxes.ignore], minlength=classes)
    rarest = np.argsort(counts, kind="stable")[: math.ceil(options.minority * classes)]
    return dict.fromkeys(rarest.tolist(), math.ceil(options.quota * budget / len(rarest)))


class DiverseBatch:
    """What has been accepted: its prototypes, and the places left for minority classes (DivProto)."""

    def __init__(self, same_class: float, seen: float, quotas: Mapping[int, int]) -> None:
        self._same_class, self._seen = same_class, seen
        self._places = {label: places for label, places in quotas.items() if places > 0}
        self._directions: dict[int, Doubles] = {}  # [m, D] by class

    def judge(self, prototypes: Prototypes, scores: Mapping[int, float]) -> tuple[bool, dict[str, float]]:
        """Whether an image is to be accepted, and the two terms that say so.

        It is if min over its classes of the largest cosine to the batch's prototypes of that class is below the one
        threshold, and the largest score of a minority class with places left above the other. An image without
        detections shows nothing new; the first of a class is as new as can be, with cosine -1.
        """
        likeness = min((self._likeness(label, prototype) for label, prototype in prototypes.items()), default=1.0)
        minority = max((scores.get(label, 0.0) for label in self._places), default=0.0)
        new = bool(prototypes) and likeness < self._same_class and (minority > self._seen or not self._places)
        return new, {"likeness": likeness, "minority": minority}

    def take(self, prototypes: Prototypes, scores: Mapping[int, float]) -> None:
        """Accept an image."""
        for label, prototype in prototypes.items():
            known = self._directions.get(label, np.zeros((0, len(prototype))))
            self._directions[label] = np.vstack([known, unit(prototype)])
        for label in [label for label in self._places if scores.get(label, 0.0) > self._seen]:
            self._places[label] -= 1
            if not self._places[label]:
                del self._places[label]

    def _likeness(self, label: int, prototype: Doubles) -> float:
        known = self._directions.get(label)
        return -1.0 if known is None else float((known @ unit(prototype)).max())


def _seen(detections: Mapping[int, Detections], image: int, mean: Doubles, options: Options) -> Instances:
    from scipy.special import entr

    found = described(detections, image, options.min_score)
    assert found.features is not None
    scores = np.clip(found.scores.astype(np.float64), 0, 1)
    return Instances(scores, found.labels, entr(scores) + entr(1 - scores), found.features.astype(np.float64) - mean)
