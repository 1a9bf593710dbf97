"""Surrogates against their textbook formulas, on points of a line. The published one: test_lookup.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mgral.config.schema import Table
from mgral.core.types import Floats
from mgral.reward.surrogates import GaussianProcess, Nearest, Ridge, alone


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


def covariance(near: Nearest, process: GaussianProcess, x: Floats, y: Floats) -> np.ndarray:
    """a·exp(-d²/2l²) and the level's variance, 10⁴, with the a and l that were found.

    In doubles: beside 10⁴, single precision rounds to 0.001. NumPy 1 would stay in that of the places.
    """
    amplitude, radial = process._model.kernel_.k1.k1.k1, process._model.kernel_.k1.k1.k2
    squared = ((x.astype(np.float64) - y.T) / near.scale) ** 2
    return amplitude.constant_value * np.exp(-squared / (2 * radial.length_scale**2)) + 1e4


def test_the_process_is_the_textbook_one() -> None:
    """Rasmussen & Williams, equations 2.25 and 2.26, written out."""
    near = Nearest(PLACES, VALUES, params())
    process = GaussianProcess(near, params(uncertainty=0.9))
    queries = column(1, 3, 30)
    gram = covariance(near, process, PLACES, PLACES) + process._model.kernel_.k1.k2.noise_level * np.eye(6)
    cross = covariance(near, process, queries, PLACES)
    mean = VALUES.mean() + cross @ np.linalg.solve(gram, VALUES - VALUES.mean())
    a = process._model.kernel_.k1.k1.k1.constant_value
    variance = a + 1e4 - np.diag(cross @ np.linalg.solve(gram, cross.T))
    price = process.price(queries)
    assert price.value.tolist() == pytest.approx(mean.tolist(), rel=1e-7)
    assert price.far.tolist() == (np.sqrt(variance / a) > 0.9).tolist() == [False, False, True]
    assert price.distance.tolist() == [0, 1, 23]


def test_the_process_is_never_far_at_a_record() -> None:
    near = Nearest(PLACES, VALUES, params())
    far = GaussianProcess(near, params(uncertainty=0.0)).price(column(1, 1.5)).far
    assert far.tolist() == [False, True]


def test_the_process_leaves_the_record_out() -> None:
    """The same equations on the five others; what the record itself says has no part in it."""
    near = Nearest(PLACES, VALUES, params())
    process = GaussianProcess(near, params())
    gram = covariance(near, process, PLACES, PLACES) + process._model.kernel_.k1.k2.noise_level * np.eye(6)
    for k in range(6):
        others = np.arange(6) != k
        weights = np.linalg.solve(gram[np.ix_(others, others)], VALUES[others] - VALUES.mean())
        expected = VALUES.mean() + gram[k, others] @ weights
        assert process.leave_one_out().value[k] == pytest.approx(expected, rel=1e-7)


def test_ridge_is_a_line_with_a_penalty() -> None:
    """Slope Σxy / (Σx² + α) around the means; and once more without each record."""
    near = Nearest(PLACES, VALUES, params())
    ridge = Ridge(near, params())
    x = PLACES[:, 0].astype(float) / near.scale

    def line(rows: np.ndarray, at: float) -> float:
        dx, dy = x[rows] - x[rows].mean(), VALUES[rows] - VALUES[rows].mean()
        return float(VALUES[rows].mean() + dx @ dy / (dx @ dx + ridge._model.alpha_) * (at - x[rows].mean()))

    everything = np.arange(6)
    assert ridge.price(column(3)).value[0] == pytest.approx(line(everything, 3 / near.scale))
    held_out = ridge.leave_one_out()
    assert held_out.value.tolist() == pytest.approx([line(np.delete(everything, k), x[k]) for k in range(6)])
    assert held_out.distance.tolist() == [1, 1, 1, 1, 1, 2]


def test_ridge_is_far_where_the_nearest_record_is() -> None:
    # Records at 0, 1, 3: threshold 2 - sqrt(2/3) = 1.18.
    near = Nearest(column(0, 1, 3), np.array([0.2, 0.3, 0.4]), params())
    assert near.threshold == pytest.approx(2 - math.sqrt(2 / 3))
    assert Ridge(near, params()).price(column(2, 4.25)).far.tolist() == [False, True]


def test_estimates_stay_within_minus_1_and_1() -> None:
    near = Nearest(column(0, 1, 2, 3), np.array([0.7, 0.8, 0.9, 1.0]), params())
    assert Ridge(near, params()).price(column(50, -50)).value.tolist() == [1, -1]


@pytest.mark.parametrize("surrogate", [GaussianProcess, Ridge])
def test_records_that_say_nothing(surrogate: type[GaussianProcess] | type[Ridge]) -> None:
    same = Nearest(column(2, 2, 2, 2), np.array([0.1, 0.2, 0.3, 0.4]), params())
    price = surrogate(same, params()).price(column(2, 9))
    assert price.value[0] == pytest.approx(0.25, abs=1e-6)
    equal = Nearest(column(0, 1, 3, 4), np.full(4, 0.3), params())
    assert surrogate(equal, params()).price(column(2, 9)).value.tolist() == pytest.approx([0.3, 0.3])


def test_records_as_near_as_the_last_neighbour_count_too() -> None:
    # at 0: itself, then 1 and -1 tie for the second place; the order of the records decides nothing
    places = column(0, 1, -1, 9)
    near = Nearest(places, np.array([0.0, 0.2, 0.4, 0.9]), params())
    # 0.5 is nearest 0 and 1: (0.0 + 0.2) / 2, where the first alone would give 0.0
    assert near.price(column(0.5)).value.tolist() == pytest.approx([0.1])
    # left out: 0 has 1 and -1 at 1; 1 has 0 at 1; -1 likewise; 9 has 1 at 8
    assert near.leave_one_out().value.tolist() == pytest.approx([0.3, 0.0, 0.0, 0.2])


def test_what_runs_alone_has_one_thread_each_time_and_leaves_the_others_as_they_were() -> None:
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info()}

    with threadpool_limits(2):
        before = threads()
        assert 2 in before
        for _ in range(2):
            assert alone(alone(threads))() == {1}
            assert threads() == before
