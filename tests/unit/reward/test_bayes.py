"""The class-factored model: by hand where one weight counts, by brute force where all do, and under chance."""

from __future__ import annotations

import numpy as np
import pytest

from mgral.core.types import Doubles, Ints
from mgral.reward import bayes
from mgral.reward.bayes import (
    ADAPTIVE,
    BETWEEN_POOLS,
    BETWEEN_SPLITS,
    LEVEL,
    RULES,
    SPREADS,
    ClassFactored,
    prior,
    rule_of,
)
from mgral.reward.growth import FEATURES

LEARNABLE = FEATURES.index("learnable")
LEARNABLE_RULE, GROWTH_RULE = RULES["learnable"], RULES["growth"]


@pytest.fixture(autouse=True)
def few_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """1/40 is the largest p-value below 0.05 that so many can give; what is clear in 199 shuffles is clear in 39."""
    monkeypatch.setattr(bayes, "SHUFFLES", 39)


def records(
    slopes: dict[str, float], count: int = 24, classes: int = 4, noise: float = 0.01, seed: int = 0
) -> tuple[Doubles, Doubles, Doubles, Ints]:
    """Numbers, gains in mAP and by class, and groups of made-up records."""
    rng = np.random.default_rng(seed)
    x = 0.12 * rng.normal(size=(count, classes, len(FEATURES)))
    x[:, :, 2:] = x[:, :1, 2:]
    y = x @ [slopes.get(name, 0.0) for name in FEATURES]
    y += noise * rng.normal(size=(count, 1)) + 2 * noise * rng.normal(size=(count, classes))
    return x, y.mean(axis=1), y, np.zeros(count, np.int64)


def test_without_records_the_price_is_that_of_the_rule() -> None:
    empty = ClassFactored(
        np.zeros((0, 2, len(FEATURES))), np.zeros(0), np.zeros((0, 2)), np.zeros(0, np.int64), LEARNABLE_RULE
    )
    assert not empty.signal
    batch = np.zeros((1, 2, len(FEATURES)))
    batch[..., LEARNABLE] = 0.5
    value, deviation = empty.weights.predict(batch)
    assert value[0] == pytest.approx(0.5 * LEARNABLE_RULE.weight)
    assert deviation[0] == pytest.approx(0.5 * SPREADS["learnable"] * (1 + BETWEEN_POOLS**2) ** 0.5)


def test_the_prior_of_growth_is_a_mean_over_classes() -> None:
    batch = np.zeros((1, 2, len(FEATURES)))
    batch[0, :, FEATURES.index("competent growth")] = 1.0, 0.2
    assert prior(GROWTH_RULE, np.array([True, True])).predict(batch)[0][0] == pytest.approx(0.6 * GROWTH_RULE.weight)
    assert prior(GROWTH_RULE, np.array([True, False])).predict(batch)[0][0] == pytest.approx(GROWTH_RULE.weight)


def test_one_weight_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # One class, learnable alone differs: x = ±0.1, four each; gains ±0.03: the slope of least squares is 0.3.
    # The variance of that slope is σ² / (8 · 0.01), and the split's own deviation is added to it.
    monkeypatch.setattr(ClassFactored, "p_value", 0.01)
    x = np.zeros((8, 1, len(FEATURES)))
    x[:, 0, LEARNABLE] = [0.1, -0.1] * 4
    gains = 0.3 * x[:, 0, LEARNABLE]
    model = ClassFactored(x, gains, gains[:, None], np.zeros(8, np.int64), LEARNABLE_RULE)
    spread = SPREADS["learnable"]
    data, before = 1 / (model._noise[0] / 0.08 + (BETWEEN_SPLITS * spread) ** 2), 1 / spread**2
    wanted = (0.3 * data + LEARNABLE_RULE.weight * before) / (data + before)
    assert model.weights.mean[LEARNABLE] == pytest.approx(wanted)
    variance = 1 / (data + before) + (BETWEEN_POOLS * spread) ** 2
    assert model.weights.covariance[LEARNABLE, LEARNABLE] == pytest.approx(variance)
    others = [k for k in range(len(FEATURES)) if k != LEARNABLE]
    assert model.weights.mean[others] == pytest.approx(np.zeros(len(others)))


def test_leave_one_out_is_a_fit_without_the_record() -> None:
    x, gains, by_class, groups = records({"learnable": 0.2, "growth": 0.1})
    groups[15:] = 1
    model = ClassFactored(x, gains, by_class, groups, GROWTH_RULE)
    held_out = model.leave_one_out()
    for k in (0, 7, 20):
        rest = np.arange(len(gains)) != k
        other = ClassFactored(x[rest], gains[rest], by_class[rest], groups[rest], GROWTH_RULE)
        other.__dict__["_noise"] = model._noise
        squares, products = other._information(model._noise)
        common, _ = other._common(squares, products)
        tie = np.diag([(BETWEEN_SPLITS * spread) ** -2 for spread in SPREADS.values()])
        weights = np.linalg.solve(squares[groups[k]] + tie, products[groups[k]] + tie @ common)
        assert held_out[k] == pytest.approx(float(x[k].mean(axis=0) @ weights))


def test_a_split_is_one_observation_however_many_records_it_has() -> None:
    """By brute force: the weights of a split, and those that splits have in common, as one regression with a prior."""
    x, gains, by_class, groups = records({"learnable": 0.2, "boxes": 0.1}, count=40)
    groups[10:] = 1
    model = ClassFactored(x, gains, by_class, groups, LEARNABLE_RULE)
    count = len(FEATURES)
    spread = np.array(list(SPREADS.values()))
    precision, pull = np.zeros((3 * count, 3 * count)), np.zeros(3 * count)
    precision[np.diag_indices(3 * count)] = np.concatenate([spread, *[BETWEEN_SPLITS * spread] * 2]) ** -2.0
    pull[LEARNABLE] = LEARNABLE_RULE.weight / spread[LEARNABLE] ** 2
    for group in (0, 1):
        of_group = x[groups == group] - x[groups == group].mean(axis=0)
        gained = by_class[groups == group] - by_class[groups == group].mean(axis=0)
        means, levels = of_group.mean(axis=1), gained.mean(axis=1)
        about = (of_group - means[:, None]).reshape(-1, count)
        rows = [(means, levels, model._noise[0]), (about, (gained - levels[:, None]).ravel(), model._noise[1])]
        both = np.zeros((count, 3 * count))
        both[:, :count] = both[:, (group + 1) * count :][:, :count] = np.eye(count)
        for some, values, variance in rows:
            precision += (some @ both).T @ (some @ both) / variance
            pull += (some @ both).T @ values / variance
    covariance = np.linalg.inv(precision)
    assert model.signal
    assert model.weights.mean == pytest.approx((covariance @ pull)[:count])
    own = covariance[:count, :count] + np.diag((BETWEEN_POOLS * spread) ** 2)
    assert model.weights.covariance == pytest.approx(own)


def test_more_records_of_a_split_leave_the_price_unsure() -> None:
    one = ClassFactored(*records({"learnable": 0.2}, count=400), LEARNABLE_RULE)
    x, gains, by_class, _ = records({"learnable": 0.2}, count=400)
    many = ClassFactored(x, gains, by_class, np.arange(400) // 20, LEARNABLE_RULE)
    place = LEARNABLE, LEARNABLE
    least = 1 / (SPREADS["learnable"] ** -2 + (BETWEEN_SPLITS * SPREADS["learnable"]) ** -2)
    assert one.weights.covariance[place] > least > 3 * many.weights.covariance[place]


def test_noise_of_records_is_not_what_splits_differ_by() -> None:
    x, gains, by_class, _ = records({"learnable": 0.2}, count=200)
    groups = np.arange(200) // 50
    slopes = np.array([0.5, 0.0, 0.3, -0.2])[groups, None] * x[:, :, LEARNABLE]
    model = ClassFactored(x, gains + slopes.mean(axis=1), by_class + slopes, groups, LEARNABLE_RULE)
    same = ClassFactored(x, gains, by_class, groups, LEARNABLE_RULE)
    assert model._noise == pytest.approx(same._noise, rel=0.1)


def test_what_records_show_moves_the_weights() -> None:
    x, gains, by_class, _ = records({"learnable": -0.2, "novelty": 0.1}, count=60)
    model = ClassFactored(x, gains, by_class, np.arange(60) // 15, LEARNABLE_RULE)
    assert model.signal
    assert model.weights.mean[LEARNABLE] < 0 < model.weights.mean[FEATURES.index("novelty")]


def test_a_level_of_a_cycle_or_class_changes_nothing() -> None:
    x, gains, by_class, groups = records({"learnable": 0.2})
    groups[12:] = 1
    levels = np.where(groups == 0, 0.3, 0.0)
    low = ClassFactored(x, gains, by_class, groups, LEARNABLE_RULE)
    high = ClassFactored(x, gains + levels, by_class + levels[:, None] * [1, 1, 2, 0], groups, LEARNABLE_RULE)
    assert high.weights.mean == pytest.approx(low.weights.mean)


def test_records_without_ap_by_class_count_with_their_map() -> None:
    x, gains, by_class, groups = records({"learnable": 0.3}, count=40)
    unknown = ClassFactored(x, gains, np.full_like(by_class, np.nan), groups, LEARNABLE_RULE)
    assert unknown.classes.all()
    assert unknown.signal
    assert unknown.weights.mean[LEARNABLE] > LEARNABLE_RULE.weight


def test_a_class_without_ground_truth_on_val_does_not_count() -> None:
    x, gains, by_class, groups = records({"growth": 0.2})
    by_class[:, 1] = np.nan
    model = ClassFactored(x, gains, by_class, groups, LEARNABLE_RULE)
    assert model.classes.tolist() == [True, False, True, True]
    absurd = x.copy()
    absurd[:, 1, :2] = 1e3
    assert ClassFactored(absurd, gains, by_class, groups, LEARNABLE_RULE).weights.mean == pytest.approx(
        model.weights.mean
    )


@pytest.mark.slow
def test_shuffled_gains_carry_a_signal_at_the_level_stated() -> None:
    """Of 24 tables whose gains are shuffled, more than 3 with a signal have a chance of 0.3 % at a level of 1/40."""
    x, gains, by_class, groups = records({"learnable": 0.2, "growth": 0.1})
    model = ClassFactored(x, gains, by_class, groups, LEARNABLE_RULE)
    assert model.signal
    found = [model.shuffled(np.random.default_rng(seed)) for seed in range(24)]
    assert LEVEL == 0.05
    assert sum(one.signal for one in found) <= 3
    quiet = next(one for one in found if not one.signal)
    assert quiet.weights.mean.tolist() == prior(LEARNABLE_RULE, model.classes).mean.tolist()


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_records_carry_no_signal(count: int) -> None:
    model = ClassFactored(*records({"learnable": 1.0}, count=count), LEARNABLE_RULE)
    assert model.p_value == 1.0
    assert np.isfinite(model.leave_one_out()).all()


def test_equal_gains_carry_no_signal() -> None:
    x, _, _, groups = records({})
    model = ClassFactored(x, np.zeros(24), np.zeros((24, 4)), groups, GROWTH_RULE)
    assert (model.p_value, model.signal) == (1.0, False)


def test_one_class() -> None:
    model = ClassFactored(*records({"learnable": 0.3}, classes=1, count=40), LEARNABLE_RULE)
    assert model.signal
    assert np.isfinite(model.weights.covariance).all()


def test_numbers_have_a_spread_each() -> None:
    assert list(SPREADS) == list(FEATURES)
    assert {rule.feature for rule in (*RULES.values(), *ADAPTIVE.values())} <= set(FEATURES)


@pytest.mark.parametrize(("confident", "feature"), [((10, 6), "balanced"), ((10, 5), "learnable")])
def test_the_adaptive_prior_has_the_number_of_the_rule_that_fits(confident: tuple[int, int], feature: str) -> None:
    weights = prior(rule_of("adaptive", confident), np.array([True]))
    assert dict(zip(FEATURES, weights.mean, strict=True))[feature] > 0
    assert (weights.mean > 0).sum() == 1
    assert {rule.feature for rule in ADAPTIVE.values()} == {"balanced", "learnable"}
    assert rule_of("growth", confident) is GROWTH_RULE  # the others do not ask
