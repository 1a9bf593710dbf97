"""Signals of an image: what a detector that was not trained on it says about the worth of its labels.

For image i and class c, over detections d kept as the strategy entropy keeps them:

- H_d, the entropy of a detection (:func:`mgral.detection.uncertainty.detection_entropies`), and its share of a class,
  q_dc = p_dc / Σ_c p_dc over the object classes;
- E_ic = Σ_d H_d q_dc, the entropy by class. Its sum over c is the image's entropy;
- S_ic, the expected boxes: the sum of the scores of the detections of class c;
- N_c, the labelled boxes, and w_c ∝ 1 / (N_c + 1) with mean 1;
- s_i = Σ_c w_c E_ic, the class-balanced entropy;
- r_i = 1 - exp(-(d_i / σ)²), the coverage discount: d_i is the L2 distance of embeddings to the nearest labelled or
  already chosen image, σ the median over candidates of the distance to the nearest other candidate.

Memory is O(N·(d + C)); distances are computed in blocks.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.k_center import Cover
from mgral.core.types import Activation, Boxes, Detections, Doubles, Floats, Ints
from mgral.data import image_quality
from mgral.data.evidence import Evidence
from mgral.detection.uncertainty import MIN_SCORE, confident, detection_entropies

ROWS = 4096  # images compared at a time
EVERY = 4096  # candidates up to which σ is the median over all of them; of more it is that over a sample
SCALE_SAMPLE = 512  # its size: the median's standard error is then 4 % of the distribution


class Rows(Protocol):
    """Embeddings [n, d], of which some rows are read at a time."""

    def __getitem__(self, rows: Any, /) -> Floats:
        """[d] or [m, d] of one row or some."""
        ...


class Candidates(Protocol):
    """What the greedy rules read of a pool: attributes of :class:`Signals`."""

    @property
    def ids(self) -> Ints: ...  # noqa: D102
    @property
    def vectors(self) -> Rows: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102
    @property
    def labelled_squares(self) -> Doubles: ...  # noqa: D102
    @property
    def expected(self) -> Doubles: ...  # noqa: D102
    @property
    def boxes(self) -> Doubles: ...  # noqa: D102


@dataclass(frozen=True)
class Signals:
    """Signals of n candidate images.

    Attributes:
        ids: [n] int64, ascending.
        entropy: [n] float64, nats.
        by_class: [n, C] float64, E_ic in nats.
        expected: [n, C] float64, S_ic in boxes.
        boxes: [C] float64, N_c.
        vectors: [n, d] float32, embeddings.
        labelled: [m, d] float32, embeddings of the labelled images.
        measured: [n, 2] float32, sharpness and clipped share; None where they were not measured.
    """

    ids: Ints
    entropy: Doubles
    by_class: Doubles
    expected: Doubles
    boxes: Doubles
    vectors: Floats
    labelled: Floats
    measured: Floats | None = None

    @cached_property
    def class_weights(self) -> Doubles:
        """[C] w_c ∝ 1 / (N_c + 1), with mean 1."""
        weights = 1 / (self.boxes + 1)
        scaled: Doubles = weights / weights.mean()
        return scaled

    @cached_property
    def balanced(self) -> Doubles:
        """[n] s_i, the class-balanced entropy."""
        found: Doubles = (self.by_class * self.class_weights).sum(axis=1)
        return found

    @cached_property
    def scale(self) -> float:
        """σ in units of the embeddings; 0 where there are fewer than two candidates, or mostly copies."""
        return _scale(self.vectors)

    @cached_property
    def novelty(self) -> Doubles:
        """[n] L2 distance to the nearest labelled image; 0 everywhere with nothing labelled."""
        return np.sqrt(self.labelled_squares) if len(self.labelled) else np.zeros(len(self.ids))

    @cached_property
    def quality(self) -> Doubles:
        """[n] quality of the image, 0..1, see :func:`mgral.data.image_quality.scores`; 1 where it was not measured."""
        return np.ones(len(self.ids)) if self.measured is None else image_quality.scores(self.measured)

    @cached_property
    def labelled_squares(self) -> Doubles:
        """[n] squared L2 distance to the nearest labelled image, exact in float64; infinite with nothing labelled."""
        cover = Cover(self.vectors)
        if len(self.labelled) and len(self.ids):
            cover.add(self.labelled, np.arange(len(self.labelled)))
        return cover.squares


def measure(evidence: Evidence, user: str) -> Signals:
    """Signals of the unlabelled images.

    Args:
        evidence: ``detections``, their ``activation`` and ``embeddings`` of the pool, ``labels`` of the labelled.
        user: who asks, for messages: ``strategy balanced``.

    Raises:
        MgralError: a part of the evidence is missing, or a detection is not finite.
    """
    ids, classes = sorted(evidence.pool.unlabelled), len(evidence.classes)
    detections, activation = evidence.detections_of(ids, user), evidence.activation_for(user)
    labels = evidence.labels_for(user)
    vectors = evidence.embeddings_of(ids, user)
    entropy, by_class, expected = np.zeros(len(ids)), np.zeros((len(ids), classes)), np.zeros((len(ids), classes))
    for row, image in enumerate(ids):
        entropy[row], by_class[row], expected[row] = _of_image(detections[image], activation, classes)
        if not math.isfinite(entropy[row] + expected[row].sum()):
            raise MgralError(f"image {image} has class probabilities that are not finite; train the detector again")
    labelled = evidence.embeddings_of(evidence.pool.labelled_ids, user)
    boxes = count_boxes(labels, classes)
    embeddings = evidence.embeddings
    measured = None
    if embeddings is not None and embeddings.quality is not None:
        measured = embeddings.quality[embeddings.places(ids)]
    return Signals(np.array(ids, np.int64), entropy, by_class, expected, boxes, vectors, labelled, measured)


def count_boxes(labels: Mapping[int, Boxes], classes: int) -> Doubles:
    """[C] labelled boxes of each class; boxes to ignore do not count."""
    total = np.zeros(classes)
    for boxes in labels.values():
        total += np.bincount(boxes.labels[~boxes.ignore], minlength=classes)
    return total


def _of_image(found: Detections, activation: Activation, classes: int) -> tuple[float, Doubles, Doubles]:
    """Entropy, E [C] and S [C] of one image."""
    kept = confident(found, MIN_SCORE)
    if not len(kept):
        return 0.0, np.zeros(classes), np.zeros(classes)
    entropies = detection_entropies(kept, activation)
    probs = np.clip(kept.probs[:, -classes:].astype(np.float64), 0, 1)  # without the background, which comes first
    shares = probs / np.maximum(probs.sum(axis=1, keepdims=True), 1e-12)
    expected: Doubles = np.zeros(classes)
    np.add.at(expected, kept.labels, kept.scores.astype(np.float64))
    return float(entropies.sum()), (entropies[:, None] * shares).sum(axis=0), expected


class Coverage:
    """The discount r_i of candidates, kept up to date for the images that are asked for.

    Distances are sums of squared differences in float64: copies of an image have distance 0 to each other, and the
    result does not depend on the order of the calls.
    """

    def __init__(self, signals: Candidates) -> None:
        self._vectors, self._scale = signals.vectors, signals.scale
        self._squares = signals.labelled_squares.copy()
        self._seen = np.zeros(len(signals.ids), np.int64)  # chosen images compared so far
        self._chosen: list[int] = []

    def choose(self, row: int) -> None:
        """Count the candidate in ``row`` as chosen."""
        self._chosen.append(row)

    def discount(self, row: int) -> float:
        """r of a candidate, 0..1; 1 where nothing is labelled or chosen."""
        self._compare(row, self._vectors[self._chosen[self._seen[row] :]])
        self._seen[row] = len(self._chosen)
        return self.of_square(float(self._squares[row]))

    def of_square(self, square: float) -> float:
        """r at a squared distance. At σ = 0 every distance above 0 is new."""
        if self._scale <= 0:
            return float(square > 0)
        return -math.expm1(-square / self._scale**2)

    def _compare(self, row: int, others: Floats) -> None:
        point = self._vectors[row].astype(np.float64)
        for low in range(0, len(others), ROWS):
            square = float(((others[low : low + ROWS] - point) ** 2).sum(axis=1).min())
            self._squares[row] = min(self._squares[row], square)


@dataclass(frozen=True)
class Choice:
    """One greedy step: the row chosen, its gain, and its coverage discount at that time."""

    row: int
    gain: float
    discount: float


def greedy(
    signals: Candidates, count: int, gain: Callable[[int, float], float], chosen: Callable[[int, float], None]
) -> list[Choice]:
    """Choose rows one by one by the largest gain; of equal ones the smallest id.

    Lazy evaluation (Minoux 1978): a gain may only fall while the batch grows, so one computed earlier is a bound, and
    only rows whose bound is the largest are computed again. The result is that of the plain loop.

    Args:
        signals: of the candidates.
        count: rows wanted; all, if there are fewer.
        gain: (row, coverage discount) → gain >= 0; it must not rise with what is chosen, nor with a smaller discount.
        chosen: called with row and discount of each choice, before the next.
    """
    coverage = Coverage(signals)
    discounts = [coverage.discount(row) for row in range(len(signals.ids))]
    heap = [(-gain(row, discount), row, 0, discount) for row, discount in enumerate(discounts)]
    heapq.heapify(heap)
    choices: list[Choice] = []
    while heap and len(choices) < count:
        bound, row, step, discount = heapq.heappop(heap)
        if step < len(choices):
            discount = coverage.discount(row)
            fresh = min(gain(row, discount), -bound)  # above its bound by rounding alone
            heapq.heappush(heap, (-fresh, row, len(choices), discount))
            continue
        choices.append(Choice(row, -bound + 0.0, discount))
        coverage.choose(row)
        chosen(row, discount)
    return choices


class Growing:
    """The log growth of labelled boxes by a batch, while the batch grows: Σ_c a_c log((N_c + 1 + n_c) / (N_c + 1)) / C.

    n_c are the expected boxes of the batch, those of each image times its coverage discount when it was chosen.
    """

    def __init__(self, signals: Candidates, weights: Doubles) -> None:
        self._expected, self._weights = signals.expected, weights / len(weights)
        self._boxes = signals.boxes + 1

    def gain(self, row: int, discount: float) -> float:
        """Weighted mean over classes of the log growth that a candidate adds."""
        return float((self._weights * np.log1p(discount * self._expected[row] / self._boxes)).sum())

    def add(self, row: int, discount: float) -> None:
        """Add a candidate to the batch."""
        self._boxes = self._boxes + discount * self._expected[row]


def _scale(vectors: Floats) -> float:
    """Median over candidates of the distance to the nearest other one; over a sample where there are many."""
    count = len(vectors)
    if count < 2:
        return 0.0
    rows = np.arange(count)
    if count > EVERY:
        rng = random_streams.generator("coverage scale", count)
        rows = np.sort(rng.choice(count, SCALE_SAMPLE, replace=False))
    squares = np.full(len(rows), np.inf)
    points = vectors[rows].astype(np.float64)
    for low in range(0, count, ROWS):
        found = _squares(points, vectors[low : low + ROWS].astype(np.float64))
        own = np.flatnonzero((rows >= low) & (rows < low + ROWS))
        found[own, rows[own] - low] = np.inf
        squares = np.minimum(squares, found.min(axis=1))
    return float(np.median(np.sqrt(squares)))


def _squares(a: Doubles, b: Doubles) -> Doubles:
    """[n, m] squared distances by one product, float64; those that rounding alone makes positive are 0."""
    lengths = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    squares = lengths - 2 * (a @ b.T)
    exact: Doubles = np.where(squares > 1e-12 * lengths, squares, 0.0)
    return exact
