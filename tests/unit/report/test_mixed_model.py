"""The mixed model over seeds: residuals, bound and interval, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mgral.report import mixed_model
from mgral.report.mixed_model import Residual


def test_the_residual_of_three_strategies() -> None:
    # means of seeds 1 and 2, of strategies 0, 1 and 3.5, of all 1.5: residuals ½, ½, −1 and −½, −½, 1: Σ² = 3 over 2
    found = mixed_model.residual(np.array([[0.0, 1, 2], [0, 1, 5]]))
    assert found is not None
    assert (found.deviation, found.freedom) == (pytest.approx(math.sqrt(1.5)), 2)


def test_what_is_common_to_a_seed_cancels() -> None:
    levels = np.array([[0.0, 1, 2], [0, 1, 5], [1, 3, 2]])
    shifted = levels + np.array([[10.0], [-7], [100]])
    plain, moved = mixed_model.residual(levels), mixed_model.residual(shifted)
    assert plain is not None and moved is not None
    assert moved.deviation == pytest.approx(plain.deviation)


def test_a_missing_level_costs_a_degree_of_freedom() -> None:
    levels = np.array([[0.0, 1, 2], [0, 1, 5], [1, 3, math.nan]])
    found = mixed_model.residual(levels)
    assert found is not None and found.freedom == 3  # 8 levels, 3 seeds, 3 strategies, less the mean they share


def test_without_a_degree_of_freedom_there_is_no_model() -> None:
    assert mixed_model.residual(np.array([[0.1, 0.2, 0.3]])) is None
    assert mixed_model.residual(np.array([[0.1], [0.2]])) is None
    assert mixed_model.residual(np.full((2, 2), math.nan)) is None


def test_two_strategies_are_the_paired_t_test() -> None:
    ours, theirs = np.array([0.31, 0.34, 0.37]), np.array([0.30, 0.32, 0.34])
    model = mixed_model.residual(np.stack([ours, theirs], axis=1))
    assert model is not None
    found = mixed_model.interval(ours - theirs, model, 0.05)
    test = stats.ttest_rel(ours, theirs)
    ends = test.confidence_interval(0.95)
    assert found == pytest.approx((ends.low, ends.high, test.pvalue))


def test_retraining_is_a_lower_bound() -> None:
    # σ = max(0.001, 0.01); error 0.01 · √(2/3); t with 2 degrees of freedom: P(|T| > t) = 1 − t/√(2 + t²)
    found = mixed_model.interval(np.array([0.01, 0.01, 0.01]), Residual(0.001, 2, 0.01), 0.05)
    t = 0.01 / (0.01 * math.sqrt(2 / 3))
    assert found is not None and found[2] == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert Residual(0.02, 2, 0.01).bounded == 0.02


def test_differences_without_any_spread_prove_nothing() -> None:
    # equal up to rounding: 0.3 − 0.2 and 0.4 − 0.3
    model = mixed_model.residual(np.array([[0.3, 0.2], [0.4, 0.3]]))
    assert model is not None and model.deviation == 0
    assert mixed_model.interval(np.array([0.1, 0.1]), model, 0.05) is None
    assert str(mixed_model.interval(np.zeros(2), model, 0.05)) == "(0.0, 0.0, 1.0)"  # and not -0.0


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    # 1,000 experiments of three seeds and four strategies: 95 % ± 2 · √(0.95 · 0.05/1000) = ± 1.4 %
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        levels = rng.normal(0, 1, (3, 1)) + np.array([0, 0.02, 0.1, 0]) + rng.normal(0, 0.01, (3, 4))
        model = mixed_model.residual(levels)
        assert model is not None
        found = mixed_model.interval(levels[:, 1] - levels[:, 0], model, 0.05)
        inside += found is not None and found[0] <= 0.02 <= found[1]
    assert inside / 1000 == pytest.approx(0.95, abs=0.014)


def test_a_training_that_strategies_share_counts_once() -> None:
    """1,000 experiments without any difference, where two of three, or three of five strategies are the same.

    95 % ± 2 · √(0.95 · 0.05/1000) = ± 1.4 %. Counted as two trainings, two of three leave the truth out in 15 %.
    """
    rng = np.random.default_rng(0)
    for columns in ([0, 1, 1], [0, 1, 1, 1, 2]):
        shared, inside = np.tile(columns, (3, 1)), 0
        for _ in range(1000):
            levels = rng.normal(0, 1, (3, 1)) + rng.normal(0, 0.01, (3, max(columns) + 1))[:, columns]
            model = mixed_model.residual(levels, None, shared)
            assert model is not None and model.freedom == pytest.approx(2 * max(columns), rel=0.1)
            found = mixed_model.interval(levels[:, 1] - levels[:, 0], model, 0.05)
            inside += found is not None and found[0] <= 0 <= found[1]
        assert inside / 1000 == pytest.approx(0.95, abs=0.014)


def test_trainings_shared_in_some_seeds() -> None:
    levels = np.array([[0.0, 1, 2], [0, 1, 5], [1, 3, 2]])
    plain = mixed_model.residual(levels)
    apart = mixed_model.residual(levels, None, np.arange(9).reshape(3, 3))
    some = mixed_model.residual(levels, None, np.array([[0, 1, 1], [2, 3, 4], [5, 6, 7]]))
    assert plain is not None and apart is not None and some is not None
    assert (apart.deviation, apart.freedom) == pytest.approx((plain.deviation, plain.freedom))
    assert some.deviation > plain.deviation and 3 < some.freedom < 4
