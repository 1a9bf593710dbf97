"""The representation ``growth``: what a batch adds, in a few numbers with a meaning.

A pool is described by a :class:`World`: what a detector that was not trained on the candidates says of them. For a
batch S of b candidates, L labelled images and class c:

- r_i, the coverage of an image: 1 - exp(-(d_i / σ)²), d_i the L2 distance of embeddings to the nearest labelled image
  or image of the batch that comes before it. An image with more expected boxes comes before one with fewer, of equals
  the smaller id: the value of a batch does not depend on the order of its ids, and of copies one counts;
- growth of c in nats: log((N_c + 1 + n_c) / (N_c + 1)), n_c = Σ_i r_i S_ic the expected and N_c the labelled boxes;
- competent growth of c in nats: the same times a_c, the AP of the class on val over the mean AP (1 where all are 0);
- share of an image score z in nats: log((L + 1 + b) / (L + 1)) · Σ_i r_i z_i / (b · mean of z over the candidates). It
  is that of ``balanced`` (class-balanced entropy), ``learnable`` (the same times the expected quality of detection) and
  ``entropy`` (of an image); without r of ``boxes`` (expected boxes), ``novelty`` (distance to the nearest labelled
  image) and ``quality`` (sharpness and exposure of the image). The first factor makes batches and pools of other sizes
  comparable.

Each number is less its mean over random batches of the same pool and size, so that a random batch has 0 on the mean.
The definitions of S_ic, N_c and σ are those of :mod:`mgral.reward.signals`. A batch's growth is not the sum of its
images' growths: growth is logarithmic, and coverage depends on the other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Doubles, Floats, Ints
from mgral.reward import detection_quality
from mgral.reward.batch_features import positions_of
from mgral.reward.signals import Signals

BY_CLASS = ("growth", "competent growth")
COVERED = ("balanced", "learnable", "entropy")
PLAIN = ("boxes", "novelty", "quality")
FEATURES = (*BY_CLASS, *COVERED, *PLAIN)
"""Numbers of a class, in the order of the last axis of what :meth:`World.features` returns; all in nats."""

RANDOM = 256  # random batches whose mean is subtracted
ROWS = 2**16  # embeddings that are read at a time
BLOCK = 2**21  # numbers of a kind (coordinates, distances) that are held at a time


@dataclass(frozen=True)
class World:
    """Candidates of one pool, for the value of batches of them.

    Attributes:
        ids: [n] int64, ascending.
        expected: [n, C] float64, S_ic in boxes.
        boxes: [C] float64, N_c.
        competence: [C] float64 >= 0, AP on val by class.
        scores: [n, 6] float64 >= 0, the image scores of ``COVERED`` and ``PLAIN``.
        squares: [n] float64, squared distance to the nearest labelled image; infinite with nothing labelled.
        scale: σ in units of the embeddings, >= 0.
        labelled: L.
        vectors: [n, d] float32, embeddings; of more images where there are ``places``. They may be mapped from a file.
        places: [n] int64, row of ``vectors`` of each candidate; None: its own.
    """

    ids: Ints
    expected: Doubles
    boxes: Doubles
    competence: Doubles
    scores: Doubles
    squares: Doubles
    scale: float
    labelled: int
    vectors: Floats
    places: Ints | None = None

    @classmethod
    def of(cls, signals: Signals, competence: Doubles, line: tuple[float, float] = (1.0, 0.0)) -> World:
        """The world of some candidates.

        Args:
            signals: of them.
            competence: [C] AP on val of the cycle's detector.
            line: expected quality of detection by the rank of the entropy, see
                :func:`mgral.reward.detection_quality.quality_by_rank`; the default makes ``learnable`` the same as
                ``balanced``.
        """
        quality = detection_quality.expected_quality(line, signals.entropy)
        scores = {
            "balanced": signals.balanced,
            "learnable": signals.balanced * quality,
            "entropy": signals.entropy,
            "boxes": signals.expected.sum(axis=1),
            "novelty": signals.novelty,
            "quality": signals.quality,
        }
        return cls(
            signals.ids,
            signals.expected,
            signals.boxes,
            competence,
            np.stack([scores[name] for name in (*COVERED, *PLAIN)], axis=1),
            signals.labelled_squares,
            signals.scale,
            len(signals.labelled),
            signals.vectors,
        )

    def features(self, batches: Sequence[Sequence[int]]) -> Doubles:
        """[batches, C, 8] the numbers of ``FEATURES``, in nats, less those of random batches.

        Raises:
            MgralError: a batch is empty, repeats an id or holds one that is no candidate.
        """
        found = np.empty((len(batches), len(self.boxes), len(FEATURES)))
        sizes = np.array([len(batch) for batch in batches])
        for size in np.unique(sizes).tolist():
            some = np.flatnonzero(sizes == size).tolist()
            rows = np.array([self.rows(batches[k], f"batch {k}") for k in some], np.int64)
            found[some] = self.raw(rows) - self.level(size)
        return found

    def rows(self, batch: Sequence[int], name: str) -> Ints:
        """Rows of a batch's images in the order of their coverage. Raises MgralError for an unfit batch."""
        at = positions_of(batch, self.ids, name, "is no candidate of this pool; draw batches from its own ids")
        return at[np.argsort(self.place[at])]

    @cached_property
    def place(self) -> Ints:
        """[n] place of each candidate in the order in which images of a batch cover each other."""
        order = np.argsort(-self.expected.sum(axis=1), kind="stable")
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return places

    def raw(self, rows: Ints) -> Doubles:
        """[K, C, 8] the numbers of batches, rows [K, b] in the order of coverage; random ones are not subtracted."""
        size = rows.shape[1]
        per_block = max(1, BLOCK // (size * max(size, self.vectors.shape[1], len(self.boxes))))
        blocks = [rows[low : low + per_block] for low in range(0, len(rows), per_block)]
        return np.concatenate([self.numbers(block, self.coverage(self._nearest(block))) for block in blocks])

    def coverage(self, squares: Doubles) -> Doubles:
        """r at squared distances; at σ = 0 every distance above 0 is new."""
        if self.scale <= 0:
            return (squares > 0).astype(np.float64)
        covered: Doubles = -np.expm1(-squares / self.scale**2)
        return covered

    def numbers(self, rows: Ints, coverage: Doubles) -> Doubles:
        """[K, C, 8] the numbers of batches, given rows [K, b] and the coverage [K, b] of their images."""
        added = np.einsum("kb,kbc->kc", coverage, self.expected[rows])
        return self.assemble(added, self._sums(rows, coverage), rows.shape[1])

    def assemble(self, added: Doubles, sums: Doubles, size: int) -> Doubles:
        """The numbers, from expected boxes added [K, C] and sums of image scores [K, 6]."""
        growth = np.log1p(added / (self.boxes + 1))
        shares = np.log1p(size / (self.labelled + 1)) * sums / (size * self._means)
        found = np.empty((*added.shape, len(FEATURES)))
        found[..., 0] = growth
        found[..., 1] = growth * self.weights
        found[..., len(BY_CLASS) :] = shares[:, None, :]
        return found

    def _sums(self, rows: Ints, coverage: Doubles) -> Doubles:
        scores = self.scores[rows]
        count = len(COVERED)
        covered = np.einsum("kb,kbs->ks", coverage, scores[..., :count])
        return np.concatenate([covered, scores[..., count:].sum(axis=1)], axis=1)

    @cached_property
    def weights(self) -> Doubles:
        """[C] a_c, the AP of each class over their mean; 1 each where all are 0."""
        mean = self.competence.mean()
        found: Doubles = self.competence / mean if mean > 0 else np.ones(len(self.competence))
        return found

    @cached_property
    def _means(self) -> Doubles:
        means = self.scores.mean(axis=0)
        return np.where(means > 0, means, 1.0)  # a score that is 0 everywhere adds 0

    def _nearest(self, rows: Ints) -> Doubles:
        """[K, b] squared distance to the nearest labelled image or earlier image of the batch."""
        squares = self.squares_between(rows, rows)
        squares[:, *np.triu_indices(rows.shape[1])] = np.inf
        nearest_one: Doubles = np.minimum(squares.min(axis=2), self.squares[rows])
        return nearest_one

    def squares_between(self, one: Ints, other: Ints) -> Doubles:
        """[..., m, n] squared distances between the images of rows [..., m] and [..., n]; 0 between copies."""
        a, b = self._points(one), self._points(other)
        lengths = (a**2).sum(axis=-1)[..., :, None] + (b**2).sum(axis=-1)[..., None, :]
        squares: Doubles = lengths - 2 * a @ b.swapaxes(-1, -2)
        squares[squares <= 1e-12 * lengths] = 0  # what rounding alone makes positive
        return squares

    def _points(self, rows: Ints) -> Doubles:
        """Embeddings less their mean: far from the origin, products round differences away."""
        at = rows if self.places is None else self.places[rows]
        points: Doubles = self.vectors[at] - self._centre
        return points

    @cached_property
    def _centre(self) -> Doubles:
        total = np.zeros(self.vectors.shape[1])
        for low in range(0, len(self.ids), ROWS):
            some = slice(low, low + ROWS)
            at = some if self.places is None else self.places[some]
            total += self.vectors[at].sum(axis=0, dtype=np.float64)
        return total / max(len(self.ids), 1)

    def level(self, size: int) -> Doubles:
        """[C, 8] mean numbers of random batches of a size; the same for the same pool and size."""
        if size not in self._levels:
            rng = random_streams.generator("random batches", len(self.ids), size)
            drawn = np.array([rng.choice(len(self.ids), size, replace=False) for _ in range(RANDOM)])
            drawn = np.take_along_axis(drawn, np.argsort(self.place[drawn], axis=1), axis=1)
            self._levels[size] = self.raw(drawn).mean(axis=0)
        return self._levels[size]

    @cached_property
    def _levels(self) -> dict[int, Doubles]:
        return {}

    def state(self) -> Floats:
        """[n, 8] what the agent reads beside the embedding: the image scores, and both growths by the image alone."""
        coverage = self.coverage(self.squares)
        growth = np.log1p(coverage[:, None] * self.expected / (self.boxes + 1))
        own = [growth.mean(axis=1), (growth * self.weights).mean(axis=1)]
        return np.column_stack([self.scores, *own]).astype(np.float32)


@dataclass(frozen=True)
class Worlds:
    """Where the batches of a table come from.

    Attributes:
        own: the unlabelled images of the cycle, whose batches are to be priced.
        replay: of each replay split the labelled images that are held out, as its detector sees them; none without
            replay.
        confident: detections on val with a score of at least 0.3 by the cycle's detector, and how many of them are
            right.
    """

    own: World
    replay: Sequence[World] = ()
    confident: tuple[int, int] = (0, 0)

    def of(self, kind: str, split: int = 1) -> World:
        """The world of a kind of records; of replay that of a split, from 1. Raises MgralError if it was not given."""
        if kind != "replay":
            return self.own
        if split > len(self.replay):
            raise MgralError(
                f"table.representation: growth describes the replay records of split {split} by the pool that is split "
                "off; give --replay-pool and its --replay-embeddings and --replay-detections"
            )
        return self.replay[split - 1]
