"""The class-factored model: by hand where one weight counts, by brute force where all do, and under chance."""

from __future__ import annotations

import numpy as np
import pytest

from mgral.core.types import Doubles, Ints
from mgral.reward import bayes
from mgral.reward.bayes import LEVEL, PRIORS, SPREADS, TRANSFER, ClassFactored, prior
from mgral.reward.growth import FEATURES

LEARNABLE = FEATURES.index("learnable")


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
    empty = ClassFactored(np.zeros((0, 2, 7)), np.zeros(0), np.zeros((0, 2)), np.zeros(0, np.int64), "learnable")
    assert not empty.signal
    batch = np.zeros((1, 2, 7))
    batch[..., LEARNABLE] = 0.5
    value, deviation = empty.weights.predict(batch)
    assert value[0] == pytest.approx(0.5 * PRIORS["learnable"])
    assert deviation[0] == pytest.approx(0.5 * SPREADS["learnable"])


def test_the_prior_of_growth_is_a_mean_over_classes() -> None:
    batch = np.zeros((1, 2, 7))
    batch[0, :, FEATURES.index("competent growth")] = 1.0, 0.2
    assert prior("growth", np.array([True, True])).predict(batch)[0][0] == pytest.approx(0.6 * PRIORS["growth"])
    assert prior("growth", np.array([True, False])).predict(batch)[0][0] == pytest.approx(PRIORS["growth"])


def test_one_weight_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # One class, learnable alone differs: x = ±0.1, four each; gains ±0.03: the slope of least squares is 0.3.
    # Information 8 · 0.01 / σ² against TRANSFER² / spread²; then TRANSFER² of the way from the prior to it.
    monkeypatch.setattr(ClassFactored, "p_value", 0.01)
    x = np.zeros((8, 1, 7))
    x[:, 0, LEARNABLE] = [0.1, -0.1] * 4
    gains = 0.3 * x[:, 0, LEARNABLE]
    model = ClassFactored(x, gains, gains[:, None], np.zeros(8, np.int64), "learnable")
    variance = model._noise[0]
    data, before = 8 * 0.01 / variance, TRANSFER**2 / SPREADS["learnable"] ** 2
    of_replay = (0.3 * data + PRIORS["learnable"] * before) / (data + before)
    wanted = PRIORS["learnable"] + TRANSFER**2 * (of_replay - PRIORS["learnable"])
    assert model.weights.mean[LEARNABLE] == pytest.approx(wanted)
    spread = (1 - TRANSFER**2) * SPREADS["learnable"] ** 2 + TRANSFER**4 / (data + before)
    assert model.weights.covariance[LEARNABLE, LEARNABLE] == pytest.approx(spread)
    others = [k for k in range(7) if k != LEARNABLE]
    assert model.weights.mean[others] == pytest.approx(np.zeros(6))


def test_leave_one_out_is_a_fit_without_the_record() -> None:
    x, gains, by_class, groups = records({"learnable": 0.2, "growth": 0.1})
    groups[15:] = 1
    model = ClassFactored(x, gains, by_class, groups, "growth")
    held_out = model.leave_one_out()
    for k in (0, 7, 20):
        rest = np.arange(len(gains)) != k
        other = ClassFactored(x[rest], gains[rest], by_class[rest], groups[rest], "growth")
        other.__dict__["_noise"] = model._noise
        precision, pull = other._information(model._noise)
        weights = other._transferred(np.linalg.solve(precision, pull))
        assert held_out[k] == pytest.approx(float(x[k].mean(axis=0) @ weights))


def test_what_records_show_moves_the_weights() -> None:
    x, gains, by_class, groups = records({"learnable": -0.2, "novelty": 0.1}, count=60)
    model = ClassFactored(x, gains, by_class, groups, "learnable")
    assert model.signal
    assert model.weights.mean[LEARNABLE] < 0 < model.weights.mean[FEATURES.index("novelty")]


def test_a_level_of_a_cycle_or_class_changes_nothing() -> None:
    x, gains, by_class, groups = records({"learnable": 0.2})
    groups[12:] = 1
    levels = np.where(groups == 0, 0.3, 0.0)
    low = ClassFactored(x, gains, by_class, groups, "learnable")
    high = ClassFactored(x, gains + levels, by_class + levels[:, None] * [1, 1, 2, 0], groups, "learnable")
    assert high.weights.mean == pytest.approx(low.weights.mean)


def test_records_without_ap_by_class_count_with_their_map() -> None:
    x, gains, by_class, groups = records({"learnable": 0.3}, count=40)
    unknown = ClassFactored(x, gains, np.full_like(by_class, np.nan), groups, "learnable")
    assert unknown.classes.all()
    assert unknown.signal
    assert unknown.weights.mean[LEARNABLE] > PRIORS["learnable"]


def test_a_class_without_ground_truth_on_val_does_not_count() -> None:
    x, gains, by_class, groups = records({"growth": 0.2})
    by_class[:, 1] = np.nan
    model = ClassFactored(x, gains, by_class, groups, "learnable")
    assert model.classes.tolist() == [True, False, True, True]
    absurd = x.copy()
    absurd[:, 1, :2] = 1e3
    assert ClassFactored(absurd, gains, by_class, groups, "learnable").weights.mean == pytest.approx(model.weights.mean)


def test_shuffled_gains_carry_a_signal_at_the_level_stated() -> None:
    """Of 24 tables whose gains are shuffled, more than 4 with a signal have a chance of 0.6 % at a level of 0.05."""
    x, gains, by_class, groups = records({"learnable": 0.2, "growth": 0.1})
    model = ClassFactored(x, gains, by_class, groups, "learnable")
    assert model.signal
    found = [model.shuffled(np.random.default_rng(seed)) for seed in range(24)]
    assert LEVEL == 0.05
    assert sum(one.signal for one in found) <= 4
    quiet = next(one for one in found if not one.signal)
    assert quiet.weights.mean.tolist() == prior("learnable", model.classes).mean.tolist()


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_records_carry_no_signal(count: int) -> None:
    model = ClassFactored(*records({"learnable": 1.0}, count=count), "learnable")
    assert model.p_value == 1.0
    assert np.isfinite(model.leave_one_out()).all()


def test_equal_gains_carry_no_signal() -> None:
    x, _, _, groups = records({})
    model = ClassFactored(x, np.zeros(24), np.zeros((24, 4)), groups, "growth")
    assert (model.p_value, model.signal) == (1.0, False)


def test_one_class() -> None:
    model = ClassFactored(*records({"learnable": 0.3}, classes=1, count=40), "learnable")
    assert model.signal
    assert np.isfinite(model.weights.covariance).all()


def test_numbers_have_a_spread_each() -> None:
    assert list(SPREADS) == list(FEATURES)
    assert set(bayes.RULE_FEATURE) == set(PRIORS)
