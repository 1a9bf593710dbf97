"""From the vectors of a few batches whose gain in mAP is known to the gain of others.

- ``nearest``: the mean of the nearest records, weighted by inverse distance (arXiv 2310.08387).
- ``gp``: regression by a Gaussian process, which knows its own uncertainty (Rasmussen & Williams 2006, chapter 2).
- ``ridge``: linear regression, its penalty chosen by leave-one-out over the records;
- ``bayes``: :mod:`mgral.reward.bayes`, for the representation ``growth`` alone.

None is stored: each is fitted to the records, in their order, to the same bits.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from mgral.config.schema import Table
from mgral.core.errors import MgralError
from mgral.core.types import Bools, Doubles, Floats, Ints
from mgral.reward.nearest_neighbours import Neighbours

P = ParamSpec("P")
R = TypeVar("R")

EXACT = 1e-6
"""Distance up to which a batch counts as a record's own. The same batch gives the same vector to the last bit and, as
:mod:`mgral.reward.nearest_neighbours` has it, a distance of exactly 0, on a GPU too; the tolerance covers an embedding
that went through another machine."""

RESTARTS = 2  # of the search for the process's kernel, beside the one from its middle
STEPS = 50  # of each such search
LEVEL = 1e4  # prior variance of the process's level, in variances of the gain: the records alone decide it
PENALTIES = np.logspace(-3, 3, 13)  # of ridge regression, for vectors whose mean distance is 1


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """Run on one thread: with more, the order of sums and thus the answer would vary."""

    @functools.wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _libraries(len(sys.modules)).limit(limits=1):
            return function(*args, **kwargs)

    return limited


@functools.lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Those that compute on several threads. To find them takes 5 ms: they are the same until a module is imported."""
    return ThreadpoolController()


@dataclass(frozen=True)
class Price:
    """What the table says of n batches.

    Attributes:
        value: [n] float64, estimated gain: mAP of the proxy less that of random batches, -1..1.
        distance: [n] float64, L2 distance to the nearest record.
        far: [n] bool, the estimate is not to be trusted: the nearest record lies beyond the threshold, or the
            surrogate says so itself. Never a batch that has a record.
        deviation: [n] float64, standard deviation of the estimate, in mAP; None where the surrogate knows none.
    """

    value: Doubles
    distance: Doubles
    far: Bools
    deviation: Doubles | None = None

    def of(self, some: Bools) -> Price:
        """That of some of the batches; ``some`` is [n]."""
        deviation = None if self.deviation is None else self.deviation[some]
        return Price(self.value[some], self.distance[some], self.far[some], deviation)


def cautious(gain: Doubles, deviation: Doubles | None, caution: float) -> Doubles:
    """Expected gains less ``caution`` of their standard deviations: what the agent is rewarded by, and polished by.

    Args:
        gain: [n].
        deviation: [n]; None where the surrogate knows none.
        caution: >= 0.

    Returns:
        [n], a copy.

    Raises:
        MgralError: caution without deviations.
    """
    if not caution:
        return gain.copy()
    if deviation is None:
        raise MgralError("search.caution: this table.surrogate knows no standard deviation; set caution to 0")
    lower: Doubles = gain - caution * deviation
    return lower


class Surrogate(Protocol):
    """A way to estimate; made from the records by :data:`SURROGATES`."""

    def price(self, queries: npt.NDArray[np.floating]) -> Price:
        """Estimate batches by their vectors [n, d]."""
        ...

    def leave_one_out(self) -> Price:
        """Estimate each record by the others."""
        ...


class Nearest:
    """Inverse-distance mean over the M nearest records, and over all others that are as near as the M-th.

    Attributes:
        vectors: [records, d].
        values: [records] gain in mAP.
        scale: mean distance between all pairs of records.
        threshold: scale - deviations * standard deviation of these distances (the paper's "mean distance - 1
            standard deviation"; of which distances, it does not say). The variance is divided by the number of
            pairs.
    """

    def __init__(self, vectors: Floats, values: Doubles, params: Table, gpu: bool = False) -> None:
        """Fit to records; ``gpu``: look for neighbours on a GPU if there is one, to the same prices."""
        from scipy.spatial.distance import pdist

        self.vectors, self.values = vectors, values
        self._records = Neighbours(vectors, gpu)
        pairs = pdist(vectors.astype(np.float64))
        self.scale = float(pairs.mean())
        self.threshold = float(self.scale - params.threshold_deviations * pairs.std())
        self._neighbours = params.neighbours

    def price(self, queries: npt.NDArray[np.floating]) -> Price:
        """Predicted gain of each batch, and its distance to the records.

        A batch at distance 0 of a record (see :data:`EXACT`) gets that record's gain, or the mean of several such. With
        fewer than M records all of them count.
        """
        return self._price(*self._records.search_with_ties(queries.astype(np.float32), self._neighbours))

    def leave_one_out(self) -> Price:
        """Predicted gain of each record by all others."""
        distances, rows = self._records.search_with_ties(self.vectors, self._neighbours + 1)
        distances[rows == np.arange(len(self.values))[:, None]] = np.inf  # the record itself; fillers stay so
        order = distances.argsort(axis=1, kind="stable")
        order = order[:, : np.isfinite(distances).sum(axis=1).max()]
        return self._price(np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1))

    def _price(self, distances: Doubles, rows: Ints) -> Price:
        nearest_one = distances[:, 0]
        far = (nearest_one > self.threshold) & (nearest_one > EXACT)
        return Price(_inverse_distance_mean(distances, self.values[rows]), nearest_one, far)


def _inverse_distance_mean(distances: Doubles, values: Doubles) -> Doubles:
    """Mean of ``values`` [n, w] weighted by 1 / ``distances``; rows with exact hits average these alone.

    Values at infinite distance have no weight.
    """
    exact = distances <= EXACT
    weights = np.where(exact.any(axis=1, keepdims=True), exact, 1 / np.maximum(distances, EXACT))
    mean: Doubles = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return mean


class GaussianProcess:
    """Kernel a·exp(-d²/2l²) + noise around an unknown level; a, l and noise by marginal likelihood.

    Before the fit, distances are divided by the mean distance between records, and gains are standardised. The noise
    lets records at one place differ, so a batch that has a record gets a value near that record's rather than
    that value itself. A batch is far where the records leave more than ``table.far_uncertainty`` of the standard
    deviation √a that the process has before it sees any.
    """

    @alone
    def __init__(self, nearest: Nearest, params: Table) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        self._nearest, self._limit = nearest, params.far_uncertainty
        self._mean, self._spread = float(nearest.values.mean()), float(nearest.values.std()) or 1.0
        self._standard = (nearest.values - self._mean) / self._spread
        shape = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (0.1, 10)) + WhiteKernel(0.1, (1e-4, 10))
        level = ConstantKernel(LEVEL, "fixed")
        search = GaussianProcessRegressor(
            shape + level, optimizer=_climb, n_restarts_optimizer=RESTARTS, random_state=0
        )
        found = _fit(search, _coordinates(nearest), self._standard).kernel_
        self._model = GaussianProcessRegressor(found, optimizer=None)
        _fit(self._model, _scaled(nearest.vectors, nearest), self._standard)

    def price(self, queries: npt.NDArray[np.floating]) -> Price:
        """Predicted gain of each batch, and its distance to the records."""
        standard, deviation = self._model.predict(_scaled(queries, self._nearest), return_std=True)
        return self._price(standard, deviation**2, self._nearest.price(queries).distance)

    @alone
    def leave_one_out(self) -> Price:
        """Rasmussen & Williams, equation 5.12; a, l and noise are those of all records."""
        inverse = np.linalg.inv(self._model.kernel_(_coordinates(self._nearest)))
        variance = 1 / np.diag(inverse)
        standard = self._standard - inverse @ self._standard * variance
        return self._price(standard, variance, self._nearest.leave_one_out().distance)

    def _price(self, standard: Doubles, variance: Doubles, distance: Doubles) -> Price:
        """From the process's own scale; ``variance`` is that of a new proxy, its noise included."""
        shape = self._model.kernel_.k1
        left = np.sqrt(np.maximum(variance - shape.k2.noise_level, 0) / shape.k1.k1.constant_value)
        value = np.clip(self._mean + self._spread * standard, -1, 1)
        deviation = self._spread * left * np.sqrt(shape.k1.k1.constant_value)
        return Price(value, distance, (left > self._limit) & (distance > EXACT), deviation)


class Ridge:
    """Linear regression on the vectors, divided by the mean distance between records.

    A batch is far where the nearest record is beyond the threshold of :class:`Nearest`.
    """

    @alone
    def __init__(self, nearest: Nearest, params: Table) -> None:
        from sklearn.linear_model import RidgeCV

        self._nearest = nearest
        self._model = _fit(RidgeCV(PENALTIES), _scaled(nearest.vectors, nearest), nearest.values)

    def price(self, queries: npt.NDArray[np.floating]) -> Price:
        """Predicted gain of each batch, and its distance to the records."""
        near = self._nearest.price(queries)
        value = np.clip(self._model.predict(_scaled(queries, self._nearest)), -1, 1)
        return Price(value, near.distance, near.far)

    @alone
    def leave_one_out(self) -> Price:
        """By the hat matrix H: the error of a record left out is its residual / (1 - H_ii), exactly.

        The penalty is that of all records.
        """
        near, values = self._nearest.leave_one_out(), self._nearest.values
        x, records = _coordinates(self._nearest), len(values)
        products = x @ x.T
        hat = 1 / records + products @ np.linalg.inv(products + self._model.alpha_ * np.eye(records))
        estimated = values - (values - hat @ values) / (1 - np.diag(hat))
        return Price(np.clip(estimated, -1, 1), near.distance, near.far)


def _scaled(vectors: npt.NDArray[np.floating], nearest: Nearest) -> Doubles:
    """Vectors among which the mean distance between records is 1."""
    return vectors.astype(np.float64) / (nearest.scale or 1.0)


def _coordinates(nearest: Nearest) -> Doubles:
    """[records, records] the records as few numbers, at the same distances as :func:`_scaled` has them; centred.

    An index vector is as long as the pool, but the records span a space no larger than their number.
    """
    centred = _scaled(nearest.vectors, nearest)
    centred -= centred.mean(axis=0)
    variances, axes = np.linalg.eigh(centred @ centred.T)
    coordinates: Doubles = axes * np.sqrt(np.maximum(variances, 0))
    return coordinates


def _climb(objective: Any, start: Doubles, bounds: Any) -> tuple[Doubles, float]:
    """scikit-learn's own way to the kernel's numbers, ended after ``STEPS``: records without signal have no summit."""
    from scipy.optimize import minimize

    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": STEPS})
    return found.x, float(found.fun)


def _fit(model: Any, vectors: Doubles, values: Doubles) -> Any:
    """Fit a model of scikit-learn."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a kernel at its bounds: the records say no more
        return model.fit(vectors, values)


SURROGATES: dict[str, Callable[[Nearest, Table], Surrogate]] = {
    "nearest": lambda nearest, params: nearest,
    "gp": GaussianProcess,
    "ridge": Ridge,
}
