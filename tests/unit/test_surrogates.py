"""Surrogates against their textbook formulas, on points of a line. The published one: test_lookup.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgral.params import Table
from mgral.surrogates import GaussianProcess, Nearest, Ridge
from mgral.types import Floats


def params(deviations: float = 1.0, uncertainty: float = 0.9) -> Table:
    return Table(
        representation="embedding",
        centroids=4,
        surrogate="nearest",
        neighbours=1,
        threshold_deviations=deviations,
        far_uncertainty=uncertainty,
    )


def column(*places: float) -> Floats:
    return np.array(places, np.float32)[:, None]


PLACES, VALUES = column(0, 1, 2, 4, 5, 7), np.array([0.2, 0.35, 0.4, 0.3, 0.25, 0.4])


def test_the_process_is_the_textbook_one() -> None:
    """Rasmussen & Williams, equations 2.25 and 2.26, written out with the kernel that was found."""
    near = Nearest(PLACES, VALUES, params())
    process = GaussianProcess(near, params(uncertainty=0.9))
    kernel = process._kernel
    a, length, noise = kernel.k1.k1.constant_value, kernel.k1.k2.length_scale, kernel.k2.noise_level

    def k(x: Floats, y: Floats) -> Floats:
        return a * np.exp(-(((x - y.T) / near.scale) ** 2) / (2 * length**2))

    queries = column(1, 3, 30)
    gram = k(PLACES, PLACES) + noise * np.eye(6)
    standard = (VALUES - VALUES.mean()) / VALUES.std()
    mean = VALUES.mean() + VALUES.std() * k(queries, PLACES) @ np.linalg.solve(gram, standard)
    variance = a - np.diag(k(queries, PLACES) @ np.linalg.solve(gram, k(PLACES, queries)))
    price = process.price(queries)
    assert price.value.tolist() == pytest.approx(mean.tolist(), rel=1e-4)
    assert price.far.tolist() == (np.sqrt(variance / a) > 0.9).tolist() == [False, False, True]
    assert price.distance.tolist() == [0, 1, 23]
    assert price.value[2] == pytest.approx(VALUES.mean(), abs=1e-6)  # far away it knows the mean only


def test_the_process_is_never_far_at_a_record() -> None:
    near = Nearest(PLACES, VALUES, params())
    far = GaussianProcess(near, params(uncertainty=0.0)).price(column(1, 1.5)).far
    assert far.tolist() == [False, True]


def test_the_process_leaves_the_record_out() -> None:
    """A record left out is what the others say of it; with its own value changed, they say the same."""
    near = Nearest(PLACES, VALUES, params())
    process = GaussianProcess(near, params())
    estimated = process.leave_one_out().value
    a, length = process._kernel.k1.k1.constant_value, process._kernel.k1.k2.length_scale
    others = np.arange(6) != 3
    mean, spread = VALUES[others].mean(), VALUES[others].std()
    squared = (PLACES - PLACES.T) ** 2 / near.scale**2
    gram = a * np.exp(-squared / (2 * length**2)) + process._kernel.k2.noise_level * np.eye(6)
    weights = np.linalg.solve(gram[np.ix_(others, others)], (VALUES[others] - mean) / spread)
    assert estimated[3] == pytest.approx(mean + spread * gram[3, others] @ weights, rel=1e-4)


def test_ridge_takes_its_penalty_by_leave_one_out() -> None:
    """Slope Σxy / (Σx² + α) around the means, α the one of the grid with the least held-out error."""
    near = Nearest(PLACES, VALUES, params())
    ridge = Ridge(near, params())
    x, alpha = PLACES[:, 0].astype(float) / near.scale, ridge._model.alpha_

    def line(rows: np.ndarray, penalty: float) -> tuple[float, float]:
        dx, dy = x[rows] - x[rows].mean(), VALUES[rows] - VALUES[rows].mean()
        slope = float(dx @ dy / (dx @ dx + penalty))
        return slope, float(VALUES[rows].mean() - slope * x[rows].mean())

    slope, start = line(np.arange(6), alpha)
    assert ridge.price(column(3)).value[0] == pytest.approx(start + slope * 3 / near.scale)

    price = ridge.leave_one_out()
    own = ridge._fit(np.delete(np.arange(6), 2)).alpha_  # the penalty, too, is chosen without the record
    slope, start = line(np.delete(np.arange(6), 2), own)
    assert price.value[2] == pytest.approx(start + slope * x[2])
    assert price.distance.tolist() == [1, 1, 1, 1, 1, 2]


def test_ridge_is_far_where_the_nearest_record_is() -> None:
    # Records at 0, 1, 3: threshold 2 - sqrt(2/3) = 1.18.
    near = Nearest(column(0, 1, 3), np.array([0.2, 0.3, 0.4]), params())
    assert near.threshold == pytest.approx(2 - math.sqrt(2 / 3))
    assert Ridge(near, params()).price(column(2, 4.25)).far.tolist() == [False, True]


def test_estimates_stay_within_0_and_1() -> None:
    near = Nearest(column(0, 1, 2, 3), np.array([0.7, 0.8, 0.9, 1.0]), params())
    assert Ridge(near, params()).price(column(50, -50)).value.tolist() == [1, 0]


@pytest.mark.parametrize("surrogate", [GaussianProcess, Ridge])
def test_records_that_say_nothing(surrogate: type[GaussianProcess] | type[Ridge]) -> None:
    same = Nearest(column(2, 2, 2, 2), np.array([0.1, 0.2, 0.3, 0.4]), params())
    price = surrogate(same, params()).price(column(2, 9))
    assert price.value[0] == pytest.approx(0.25, abs=1e-6)
    equal = Nearest(column(0, 1, 3, 4), np.full(4, 0.3), params())
    assert surrogate(equal, params()).price(column(2, 9)).value.tolist() == pytest.approx([0.3, 0.3])
