"""From the vectors of a few batches whose mAP is known to the mAP of others.

- ``nearest``: the mean of the nearest records, weighted by inverse distance (arXiv 2310.08387).
- ``gp``: regression by a Gaussian process, which knows its own uncertainty (Rasmussen & Williams 2006, chapter 2).
- ``ridge``: linear regression, its penalty chosen by leave-one-out over the records.

None is stored: each is fitted to the records, in their order, to the same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mgral.params import Table
from mgral.types import Bools, Floats, Ints

Doubles = npt.NDArray[np.float64]

EXACT = 1e-6
"""Distance up to which a batch counts as a record's own. The same batch gives the same vector to the last bit
and a distance of exactly 0; the tolerance covers an embedding that went through another machine."""

QUERIES = 16
"""Queries handed to FAISS at once. Given many (20, or more in newer versions), it expands |x - y|² into inner
products, whose rounding hides exact hits and depends on the other queries; given few, it sums the squared
differences of each pair. Index vectors are whole numbers, and exact either way."""

RESTARTS = 2  # of the search for the process's kernel, beside the one from its middle
PENALTIES = np.logspace(-3, 3, 13)  # of ridge regression, for vectors whose mean distance is 1


@dataclass(frozen=True)
class Price:
    """What the table says of n batches.

    Attributes:
        value: [n] float64, estimated mAP of the proxy, 0..1.
        distance: [n] float64, L2 distance to the nearest record.
        far: [n] bool, the estimate is not to be trusted: the nearest record lies beyond the threshold, or the
            surrogate says so itself. Never a batch that has a record.
    """

    value: Doubles
    distance: Doubles
    far: Bools


class Surrogate(Protocol):
    """A way to estimate; made from the records by :data:`SURROGATES`."""

    def price(self, queries: Floats) -> Price:
        """Estimate batches by their vectors [n, d]."""
        ...

    def leave_one_out(self) -> Price:
        """Estimate each record by the others."""
        ...


class Nearest:
    """Inverse-distance mean over the M nearest records, by an exact FAISS index.

    Attributes:
        vectors: [records, d].
        values: [records] mAP.
        index: ``IndexFlatL2`` over the vectors.
        scale: mean distance between all pairs of records.
        threshold: scale - deviations * standard deviation of these distances (the paper's "mean distance - 1
            standard deviation"; of which distances, it does not say). The variance is divided by the number of
            pairs.
    """

    def __init__(self, vectors: Floats, values: Doubles, params: Table) -> None:
        from faiss import IndexFlatL2
        from scipy.spatial.distance import pdist

        self.vectors, self.values = vectors, values
        self.index = IndexFlatL2(vectors.shape[1])
        self.index.add(vectors)
        pairs = pdist(vectors.astype(np.float64))
        self.scale = float(pairs.mean())
        self.threshold = float(self.scale - params.threshold_deviations * pairs.std())
        self._neighbours = params.neighbours

    def price(self, queries: Floats) -> Price:
        """A batch at distance 0 of a record (see :data:`EXACT`) gets that record's mAP, or the mean of several
        such. With fewer than M records all of them count."""
        return self._price(*self._search(queries, self._neighbours))

    def leave_one_out(self) -> Price:
        distances, rows = self._search(self.vectors, self._neighbours + 1)
        keep = rows != np.arange(len(self.values))[:, None]
        keep[keep.all(axis=1), -1] = False  # more twins than neighbours: the record itself was not among them
        width = rows.shape[1] - 1
        return self._price(distances[keep].reshape(-1, width), rows[keep].reshape(-1, width))

    def _price(self, distances: Doubles, rows: Ints) -> Price:
        nearest_one = distances[:, 0]
        far = (nearest_one > self.threshold) & (nearest_one > EXACT)
        return Price(_inverse_distance_mean(distances, self.values[rows]), nearest_one, far)

    def _search(self, queries: Floats, count: int) -> tuple[Doubles, Ints]:
        """Distances and rows of the nearest records, [n, min(count, records)] each, nearest first."""
        count = min(count, len(self.values))
        distances, rows = np.zeros((len(queries), count)), np.zeros((len(queries), count), np.int64)
        for start in range(0, len(queries), QUERIES):
            block = slice(start, start + QUERIES)
            squared, rows[block] = self.index.search(queries[block], count)
            distances[block] = np.sqrt(squared.astype(np.float64))
        return distances, rows


def _inverse_distance_mean(distances: Doubles, values: Doubles) -> Doubles:
    """Mean of ``values`` [n, M] weighted by 1 / ``distances``; rows with exact hits average these alone."""
    exact = distances <= EXACT
    weights = np.where(exact.any(axis=1, keepdims=True), exact, 1 / np.maximum(distances, EXACT))
    mean: Doubles = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return mean


class GaussianProcess:
    """Kernel a·exp(-d²/2l²) + noise, its three numbers chosen by marginal likelihood.

    Before the fit, distances are divided by the mean distance between records, and mAP is standardised. The noise
    lets records at one place differ, so a batch that has a record gets a value near that record's rather than
    that value itself. A batch is far where the records leave more than ``table.far_uncertainty`` of the standard
    deviation that the process (without noise) has before it sees any.
    """

    def __init__(self, nearest: Nearest, params: Table) -> None:
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        self._nearest, self._limit = nearest, params.far_uncertainty
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (0.1, 10)) + WhiteKernel(0.1, (1e-4, 10))
        self._everything = np.arange(len(nearest.values))
        self._kernel = self._fit(self._everything, kernel, "fmin_l_bfgs_b").kernel_
        self._model = self._fit(self._everything, self._kernel)

    def price(self, queries: Floats) -> Price:
        value, left = self._predict(self._model, self._everything, queries)
        distance = self._nearest.price(queries).distance
        return Price(value, distance, (left > self._limit) & (distance > EXACT))

    def leave_one_out(self) -> Price:
        """The kernel's three numbers are those of all records; everything else is fitted without the one left out."""
        value, left = np.zeros((2, len(self._everything)))
        for k in self._everything:
            others = np.delete(self._everything, k)
            model = self._fit(others, self._kernel)
            value[k : k + 1], left[k : k + 1] = self._predict(model, others, self._nearest.vectors[k : k + 1])
        distance = self._nearest.leave_one_out().distance
        return Price(value, distance, (left > self._limit) & (distance > EXACT))

    def _fit(self, rows: Ints, kernel: Any, optimiser: str | None = None) -> Any:
        from sklearn.gaussian_process import GaussianProcessRegressor

        model = GaussianProcessRegressor(kernel, optimizer=optimiser, n_restarts_optimizer=RESTARTS, random_state=0)
        mean, spread = self._level(rows)
        standard = (self._nearest.values[rows] - mean) / spread
        return _fit_alone(model, self._scaled(self._nearest.vectors[rows]), standard)

    def _predict(self, model: Any, rows: Ints, queries: Floats) -> tuple[Doubles, Doubles]:
        """mAP, and the share of the standard deviation that the records at ``rows`` leave, 0..1."""
        standard, deviation = model.predict(self._scaled(queries), return_std=True)
        mean, spread = self._level(rows)
        noise, prior = model.kernel_.k2.noise_level, model.kernel_.k1.k1.constant_value
        left = np.sqrt(np.maximum(deviation**2 - noise, 0) / prior)
        return np.clip(mean + spread * standard, 0, 1), left

    def _level(self, rows: Ints) -> tuple[float, float]:
        values = self._nearest.values[rows]
        return float(values.mean()), float(values.std()) or 1.0

    def _scaled(self, vectors: Floats) -> Doubles:
        return vectors.astype(np.float64) / (self._nearest.scale or 1.0)


class Ridge:
    """Linear regression on the vectors, divided by the mean distance between records.

    A batch is far where the nearest record is beyond the threshold of :class:`Nearest`.
    """

    def __init__(self, nearest: Nearest, params: Table) -> None:
        self._nearest = nearest
        self._model = self._fit(np.arange(len(nearest.values)))

    def price(self, queries: Floats) -> Price:
        near = self._nearest.price(queries)
        return Price(self._predict(self._model, queries), near.distance, near.far)

    def leave_one_out(self) -> Price:
        near, everything = self._nearest.leave_one_out(), np.arange(len(self._nearest.values))
        models = [self._fit(np.delete(everything, k)) for k in everything]
        rows = self._nearest.vectors[:, None]
        value = np.concatenate([self._predict(model, row) for model, row in zip(models, rows, strict=True)])
        return Price(value, near.distance, near.far)

    def _fit(self, rows: Ints) -> Any:
        from sklearn.dummy import DummyRegressor
        from sklearn.linear_model import RidgeCV

        model = RidgeCV(PENALTIES) if len(rows) > 2 else DummyRegressor()  # two points leave no penalty to choose by
        return _fit_alone(model, self._scaled(self._nearest.vectors[rows]), self._nearest.values[rows])

    def _predict(self, model: Any, queries: Floats) -> Doubles:
        return np.clip(model.predict(self._scaled(queries)), 0, 1)

    def _scaled(self, vectors: Floats) -> Doubles:
        return vectors.astype(np.float64) / (self._nearest.scale or 1.0)


def _fit_alone(model: Any, vectors: Doubles, values: Doubles) -> Any:
    """Fit a model of scikit-learn on one thread: with more, the order of sums and thus the answer would vary."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a kernel at its bounds: the records say no more
        return model.fit(vectors, values)


SURROGATES: dict[str, Callable[[Nearest, Table], Surrogate]] = {
    "nearest": lambda nearest, params: nearest,
    "gp": GaussianProcess,
    "ridge": Ridge,
}
