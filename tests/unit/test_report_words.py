"""Sentences of the report: they follow the numbers, and say no more than these allow."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from mgral import curves
from mgral.report import words


def totals_and_gains(values: dict[str, list[float]]) -> tuple[Any, Any]:
    """Summaries for the final mAP by strategy and seed; all measures alike."""
    rows = [(name, seed, *[value] * 4) for name, seeds in values.items() for seed, value in enumerate(seeds)]
    table = pd.DataFrame(rows, columns=["strategy", "seed", *curves.MEASURES])
    return curves.summary(table), curves.summary(curves.differences(table, "random"))


def test_a_gain_beyond_the_spread() -> None:
    # gains 0.04, 0.06, 0.05: mean 0.05, standard deviation √((0.01² + 0.01²)/2) = 0.01
    totals, gains = totals_and_gains({"random": [0.3, 0.4, 0.5], "mgral": [0.34, 0.46, 0.55]})
    first, remark = words.headline(totals, gains, "random", 120)
    assert first == "mgral ends highest: 0.450 test mAP with 120 labelled images, +0.050 against random."
    assert "beyond the spread" in remark and "± 0.010, though 3 seeds are few" in remark
    assert "+0.050 ± 0.010 at equal images and by +0.050 ± 0.010 at equal boxes" in remark


def test_a_gain_within_the_spread_is_no_difference() -> None:
    # gains −0.03 and 0.05: mean 0.01, standard deviation 0.0566
    totals, gains = totals_and_gains({"random": [0.3, 0.4], "mgral": [0.27, 0.45]})
    first, remark = words.headline(totals, gains, "random", 120)
    assert first.startswith("mgral ends highest") and "+0.010" in first
    assert "within the spread" in remark and "no difference is shown" in remark


def test_a_lost_race_is_told() -> None:
    totals, gains = totals_and_gains({"random": [0.4, 0.4], "entropy": [0.3, 0.32], "mgral": [0.36, 0.38]})
    first, remark = words.headline(totals, gains, "random", 60)
    assert first == (
        "Nothing beats random: it ends at 0.400 test mAP with 60 labelled images; mgral comes nearest with −0.030."
    )
    assert "beyond the spread" in remark


def test_one_seed_allows_no_statement() -> None:
    totals, gains = totals_and_gains({"random": [0.3], "mgral": [0.4]})
    assert words.headline(totals, gains, "random", 60)[1].startswith("One seed only")


def test_without_a_random_strategy_nothing_is_compared() -> None:
    totals, _ = totals_and_gains({"random": [0.3, 0.3], "mgral": [0.4, 0.42]})
    first, remark = words.headline(totals, {}, None, 60)
    assert first == "mgral ends highest: 0.410 test mAP with 60 labelled images (± 0.014 over 2 seeds)."
    assert remark.startswith("The run has no random strategy")


def test_a_single_strategy_has_won_nothing() -> None:
    totals, _ = totals_and_gains({"random": [0.3]})
    first, remark = words.headline(totals, {}, "random", 60)
    assert first == "random reaches 0.300 test mAP with 60 labelled images (one seed)."
    assert remark.startswith("The run has no other strategy")


def audit(spearman: float | None, mae: float, records: int = 17) -> dict[str, Any]:
    return {"records": records, "spearman": spearman, "mae": mae, "mae_mean": 0.02}


@pytest.mark.parametrize(
    ("audits", "verdict"),
    [
        # 17 records: chance deviates by 1/√16 = 0.25, so one table must pass 0.5
        ([audit(0.51, 0.01)], "carries signal"),
        ([audit(0.49, 0.01)], "may carry a weak signal, not told apart from chance"),
        # four tables: √(4/16)/4 = 0.125, so the mean must pass 0.25
        ([audit(0.3, 0.01)] * 4, "carries signal"),
        ([audit(0.2, 0.01)] * 4, "may carry a weak signal, not told apart from chance"),
        ([audit(0.9, 0.03)], "does not carry signal"),
        ([audit(-0.4, 0.01)], "does not carry signal"),
        ([audit(None, 0.01)], "cannot be judged"),
        ([audit(1.0, 0.01, records=2)], "cannot be judged"),
    ],
)
def test_the_verdict_on_the_lookup_table(audits: list[dict[str, Any]], verdict: str) -> None:
    assert words.signal(audits)[0] == verdict


def test_the_numbers_behind_the_verdict() -> None:
    assert words.signal([audit(0.4, 0.01), audit(0.6, 0.02, records=26)])[1] == (
        # chance: √(1/16 + 1/25)/2 = 0.1601
        "Held-out records (2 tables of 17 to 26): mean rank correlation +0.50, chance alone gives up to about "
        "± 0.32; mean absolute error 0.0150 mAP, predicting the mean 0.0200."
    )


def spreads(batches: float, seeds: float | None) -> dict[str, Any]:
    return {"between_batches": batches, "between_random": None, "between_seeds": seeds}


def test_batches_are_held_against_seeds() -> None:
    # two tables: between batches (0.01 + 0.03) / 2 = 0.02, between seeds (0.01 + 0.02) / 2 = 0.015
    audits = [
        {"kinds": {"unlabelled": spreads(0.01, 0.01), "replay": spreads(0.01, 0.02)}, "control": None},
        {"kinds": {"unlabelled": spreads(0.03, 0.02)}, "control": None},
    ]
    assert words.noise_of_records(audits) == [
        "Unlabelled records differ between batches by ± 0.0200 mAP, more than seeds of one batch do (± 0.0150).",
        "Replay records differ between batches by ± 0.0100 mAP, no more than seeds of one batch do (± 0.0200).",
    ]
    alone = [{"kinds": {"replay": {**spreads(0.02, None), "between_random": 0.01}}, "control": None}]
    assert words.noise_of_records(alone) == [
        "Replay records differ between batches by ± 0.0200 mAP (random batches by ± 0.0100); "
        "how much seeds of one batch differ was not measured."
    ]


def test_the_control_is_told_beside_its_batches() -> None:
    control = {"batches": 3, "mean": 0.3, "spread": 0.02, "control_mean": 0.4, "control_spread": 0.002}
    assert words.noise_of_records([{"kinds": {}, "control": control}]) == [
        "Control, the same 3 unlabelled batches with unsupervised weight zero: mAP 0.4000 with a spread of ± 0.0020, "
        "against 0.3000 and ± 0.0200 with the weight."
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0214, "+0.021"), (-0.0214, "−0.021"), (None, "–"), (math.nan, "–"), (-0.0001, "0.000")]
)
def test_signed_numbers(value: float | None, text: str) -> None:
    assert words.signed(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.25, "4.2 s"), (59.96, "1 min 00 s"), (190, "3 min 10 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_reasons_are_rounded() -> None:
    assert words.reason({"mean_entropy": 3.14159, "detections": 7, "most_like": "record 3"}) == [
        ("mean entropy", "3.14"),
        ("detections", "7"),
        ("most like", "record 3"),
    ]


def test_what_chance_alone_does() -> None:
    noise = {"images": 110, "repeats": 4, "mAP": {"deviation": 0.006}}
    # 2 · 0.006 · √(2/3) = 0.0098; for single runs 2 · 0.006 · √2 = 0.017
    assert "less than about 0.010 " in words.chance(noise, 3)
    assert "single runs differ by less than about 0.017 " in words.chance(noise, 1)
