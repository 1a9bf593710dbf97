"""cdal: contextual diversity, the images in which the detector confuses classes in ways not seen yet.

Agarwal et al. 2020. The detections of a class in an image, weighted by their entropy, give the mixture of classes
that the detector sees where it says that class: its confusion. Two images differ by the symmetric Kullback-Leibler
divergence between their mixtures, ½(KL(a‖b) + KL(b‖a)).

``variant`` says which mixtures: ``paper`` one for each class, divergences summed over classes; ``code``, as the
official detection code has it, one over all detections. ``solver`` says how the batch is found: ``cs`` by greedy
k-center, seeded with the labelled images; ``rl`` by a policy trained on the unlabelled ones
(:mod:`mgral.strategies.cdal.policy`).

Choices of ours [R]:

- A class without detection in an image counts as the uniform mixture: nothing is known of it. The paper leaves out
  classes that not both images show. Detection images show few, so most pairs would be at distance 0, and with them
  nearly every image from the nearest of many labelled ones.
- The classes of a sigmoid detector are no distribution; they are made one (:mod:`mgral.strategies._distributions`).
- With nothing labelled, the greedy search starts as if one image without detections were.

Mixtures are stored only where there is one: at most N·C·K numbers, and of the distances one per image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.types import Activation, Detections, Doubles, Floats, Ints, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons
from mgral.strategies._distributions import class_distributions

NEEDS: frozenset[str] = frozenset({"detections"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "distance": "by confusion of classes, in nats, to the nearest image that is labelled or was picked before",
    "nearest": "id of that image",
    "mixtures": "in how many mixtures of classes its confusion is described; 0: nothing was detected",
    "probability": "with which the policy picks the image",
    "confusion": "distance, in nats, to an image in which nothing is detected",
}


class Options(Settings):
    """Options of cdal."""

    variant: Literal["paper", "code"] = Field(
        default="paper", description="paper: a mixture per class; code: one per image, over all its detections"
    )
    solver: Literal["cs", "rl"] = Field(default="cs", description="cs: greedy k-center; rl: a trained policy")
    min_score: float = Field(default=0.01, ge=0, le=1, description="detections below are left out")
    epsilon: float = Field(
        default=1e-6,
        gt=0,
        le=0.1,
        description="added to each probability of a mixture, so that no divergence is infinite",
    )
    epochs: int = Field(default=10, ge=1, description="rl: passes over the unlabelled pool")
    learning_rate: float = Field(default=1e-2, gt=0, description="rl: Adam's")
    hidden: int = Field(default=256, ge=1, description="rl: width of each direction of the LSTM")


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the batch of largest contextual diversity.

    Args:
        evidence: ``detections`` of every image of the pool, and their ``activation``.
        budget: images wanted.
        seed: decides the policy's initial weights and samples; with ``cs`` nothing is random.
        options: see :class:`Options`.

    Returns:
        ``cs``: scored by the distance to the nearest labelled or earlier picked image, whose id is the reason
            ``nearest``; the smallest id of equals. ``rl``: scored by the logit of the policy's ``probability``;
            ``confusion`` is the distance to an image without detections.

    Raises:
        MgralError: no detections, or an image without an entry or with one that is not finite.
    """
    ids, labelled = sorted(evidence.pool.unlabelled), evidence.pool.labelled_ids
    detections = evidence.detections_of(ids, "strategy cdal")
    activation = evidence.activation_for("strategy cdal")
    if not ids or budget < 1:
        return []
    images = Mixtures.of(ids, detections, activation, len(evidence.classes), options)
    if options.solver == "rl":
        return _by_policy(ids, images, budget, seed, options)
    evidence.detections_of(labelled, "strategy cdal")
    known = Mixtures.of(labelled, detections, activation, len(evidence.classes), options)
    return _by_k_center(ids, images, labelled, known, budget)


@dataclass(frozen=True)
class Group:
    """The mixtures of one class, for the images that have one.

    Attributes:
        rows: [n] positions of the images, ascending.
        mixtures: [n, K], > 0, rows sum to 1; background first.
        logs: [n, K] their logarithms.
        unknown: [n] divergence from the uniform mixture.
    """

    rows: Ints
    mixtures: Floats
    logs: Floats
    unknown: Doubles


@dataclass(frozen=True)
class Mixtures:
    """Confusion of N images: a group per class, or a single one in the variant ``code``."""

    count: int
    groups: tuple[Group, ...]

    @staticmethod
    def of(
        ids: Sequence[int],
        detections: Mapping[int, Detections],
        activation: Activation,
        classes: int,
        options: Options,
    ) -> Mixtures:
        """The mixtures of some images, in their order.

        Raises:
            MgralError: an image has class probabilities that are not finite.
        """
        count = classes if options.variant == "paper" else 1
        found: list[list[tuple[int, Doubles]]] = [[] for _ in range(count)]
        for row, image in enumerate(ids):
            for group, mixture in mixtures(detections[image], activation, options).items():
                if not np.isfinite(mixture).all():
                    raise MgralError(
                        f"image {image} has class probabilities that are not finite; lower training.learning_rate"
                    )
                found[group].append((row, mixture))
        return Mixtures(len(ids), tuple(_group(some, classes + 1, options.epsilon) for some in found))

    def of_image(self, row: int) -> Iterator[tuple[Floats, Floats, float] | None]:
        """An image's mixture, its logarithm and its divergence from the uniform one, group by group; None if absent."""
        for group in self.groups:
            at = int(np.searchsorted(group.rows, row))
            present = at < len(group.rows) and group.rows[at] == row
            yield (group.mixtures[at], group.logs[at], float(group.unknown[at])) if present else None

    def distances(self, other: Mixtures, row: int) -> Doubles:
        """[N] distance of every image here to image ``row`` of ``other``, in nats, >= 0."""
        total = np.zeros(self.count)
        for group, theirs in zip(self.groups, other.of_image(row), strict=True):
            if theirs is None:
                total[group.rows] += group.unknown
                continue
            mixture, log, unknown = theirs
            of_group = np.full(self.count, unknown)
            of_group[group.rows] = divergence(group.mixtures, group.logs, mixture, log)
            total += of_group
        return total

    def unknown(self) -> Doubles:
        """[N] distance of every image to one without detections."""
        total = np.zeros(self.count)
        for group in self.groups:
            total[group.rows] += group.unknown
        return total

    def dense(self) -> Floats:
        """[N, groups · K] the mixtures side by side, uniform where there is none."""
        parts = []
        for group in self.groups:
            width = group.mixtures.shape[1]
            part = np.full((self.count, width), 1 / width, np.float32)
            part[group.rows] = group.mixtures
            parts.append(part)
        return np.concatenate(parts, axis=1)


def mixtures(detections: Detections, activation: Activation, options: Options) -> dict[int, Doubles]:
    """An image's mixtures [C + 1] by class, or by 0 in the variant ``code``; none for a class without detection.

    Mean of the detections' distributions, weighted by their entropies [P, section 3.1]; unweighted where all of
    these are 0.
    """
    from scipy.special import entr

    kept = detections.scores >= options.min_score
    distributions = class_distributions(detections.probs[kept].astype(np.float64), activation)
    weights = entr(distributions).sum(axis=1)
    groups = detections.labels[kept] if options.variant == "paper" else np.zeros(kept.sum(), np.int64)
    found = {}
    for group in np.unique(groups).tolist():
        of_group = groups == group
        weight = weights[of_group] if weights[of_group].any() else None
        found[group] = np.average(distributions[of_group], axis=0, weights=weight)
    return found


def divergence(mixtures: Floats, logs: Floats, mixture: Floats, log: Floats) -> Doubles:
    """[n] ½(KL(a‖b) + KL(b‖a)) = ½ Σ (a - b)(log a - log b) of n mixtures [n, K] and one [K]; exactly 0 for equals."""
    total: Doubles = ((mixtures - mixture) * (logs - log)).sum(axis=-1, dtype=np.float64) / 2
    return total


def _group(found: Sequence[tuple[int, Doubles]], width: int, epsilon: float) -> Group:
    raw = np.array([mixture for _, mixture in found]).reshape(-1, width) + epsilon
    smooth = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    logs = np.log(smooth)
    uniform = np.full(width, 1 / width, np.float32)
    unknown = divergence(smooth, logs, uniform, np.log(uniform))
    return Group(np.array([row for row, _ in found], np.int64), smooth, logs, unknown)


def _by_k_center(ids: list[int], images: Mixtures, labelled: list[int], known: Mixtures, budget: int) -> list[Pick]:
    nearest_id = np.zeros(len(ids), np.int64)
    smallest = np.full(len(ids), np.inf) if labelled else images.unknown()

    def add(other: Mixtures, row: int, image: int) -> None:
        distances = images.distances(other, row)
        nearer = distances < smallest
        smallest[nearer], nearest_id[nearer] = distances[nearer], image

    for row, image in enumerate(labelled):
        add(known, row, image)
    rows = np.concatenate([group.rows for group in images.groups])
    mixed = np.bincount(rows, minlength=len(ids))
    picks = []
    for _ in range(min(budget, len(ids))):
        row = int(np.argmax(smallest))  # the first of equals: the smallest id
        distance, nearest = float(smallest[row]), int(nearest_id[row])
        reason = {"distance": distance, "nearest": nearest or "an empty image", "mixtures": int(mixed[row])}
        picks.append(Pick(ids[row], distance, reason))
        add(images, row, ids[row])
        smallest[row] = -1
    return picks


def _by_policy(ids: list[int], images: Mixtures, budget: int, seed: int, options: Options) -> list[Pick]:
    from scipy.special import expit

    from mgral.strategies.cdal import policy

    logits = policy.train(
        images.dense(),
        budget,
        seed,
        variant=options.variant,
        epochs=options.epochs,
        hidden=options.hidden,
        learning_rate=options.learning_rate,
    )
    order = np.argsort(-logits, kind="stable")[:budget]
    unknown = images.unknown()
    return [
        Pick(
            ids[row],
            float(logits[row]),
            {"probability": float(expit(logits[row])), "confusion": float(unknown[row])},
        )
        for row in order
    ]
