"""Sentences of the report: they follow the numbers, and say no more than these allow."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from mgral.report import comparison, learning_curves, text
from mgral.report.sources import Rule


def judged(values: dict[str, list[float]], reference: str | None = "random") -> tuple[Any, comparison.Comparison]:
    """Totals and comparison of curves that start at 0.2 and end at ``values``, one a seed."""
    rows = [
        (name, seed, cycle, 60 * cycle + 60, 600 * cycle + 600, value, value)
        for name, ends in values.items()
        for seed, end in enumerate(ends)
        for cycle, value in enumerate([0.2, end])
    ]
    frame = pd.DataFrame(rows, columns=learning_curves.COLUMNS)
    return learning_curves.summary(learning_curves.scores(frame)), comparison.compare(frame, reference)


def test_a_gain_beyond_chance() -> None:
    # gains 0.04, 0.06, 0.05: mean 0.05, error 0.01/√3 = 0.0057735, times 4.3027: ∓ 0.0248; of the areas half as much
    totals, compared = judged({"random": [0.3, 0.4, 0.5], "mgral": [0.34, 0.46, 0.55]})
    assert text.headline(totals, compared, 120, {}) == (
        "mgral ends highest: 0.450 test mAP with 120 labelled images, +0.050 against random.",
        "mgral at the last cycle: better than random by 0.050 (95 % interval +0.025 to +0.075, 3 seeds). "
        "Over the whole curve, image for image: better than random by 0.025 "
        "(95 % interval +0.013 to +0.037, 3 seeds).",
    )


def test_a_gain_that_may_be_chance_is_no_difference() -> None:
    # gains −0.03 and 0.05: mean 0.01, error 0.04, times 12.7062: ∓ 0.508
    totals, compared = judged({"random": [0.3, 0.4], "mgral": [0.27, 0.45]})
    first, remark = text.headline(totals, compared, 120, {})
    assert first == (
        "At the last cycle no strategy is told apart from random: mgral has the highest mean, 0.360 test mAP with "
        "120 labelled images (+0.010)."
    )
    assert "no detectable difference to random (+0.010, 95 % interval −0.498 to +0.518, 2 seeds)" in remark


def test_a_lost_race_is_told() -> None:
    # mgral's gains −0.04, −0.02, −0.03: mean −0.03 ∓ 0.0248
    totals, compared = judged({"random": [0.4] * 3, "entropy": [0.3, 0.32, 0.31], "mgral": [0.36, 0.38, 0.37]})
    first, remark = text.headline(totals, compared, 60, {})
    assert first == (
        "Nothing ends above random: 0.400 test mAP with 60 labelled images; mgral comes nearest with −0.030."
    )
    assert remark.startswith(
        "mgral at the last cycle: worse than random by 0.030 (95 % interval −0.055 to −0.005, 3 seeds)."
    )


def test_the_highest_mean_need_not_be_told_apart() -> None:
    # good: gains of hardly more or less than 0.01: better. wild: −0.05 and 0.09, mean 0.02, not told apart, with the
    # higher mean 0.32. bad: hardly more or less than −0.02: worse
    ends = {"random": [0.3, 0.3], "good": [0.31, 0.31001], "wild": [0.25, 0.39], "bad": [0.28, 0.28001]}
    totals, compared = judged(ends)
    first, remark = text.headline(totals, compared, 60, {})
    assert first == (
        "At the last cycle only good is told above random: wild has the highest mean, 0.320 test mAP with "
        "60 labelled images (+0.020)."
    )
    assert remark.endswith("Over the whole curve only good is told above random.")
    totals, compared = judged({name: ends[name] for name in ("random", "wild", "bad")})
    assert text.headline(totals, compared, 60, {})[0].startswith(
        "At the last cycle bad is told below random and none above: wild has the highest mean, 0.320"
    )
    # without wild and good, random is the highest, and bad is worse
    totals, compared = judged({name: ends[name] for name in ("random", "bad")})
    assert text.headline(totals, compared, 60, {})[0].startswith("Nothing ends above random: 0.300")


def test_random_may_have_the_highest_mean_untold() -> None:
    # gains −0.05 and 0.03: mean −0.01
    totals, compared = judged({"random": [0.3, 0.3], "mgral": [0.25, 0.33]})
    assert text.headline(totals, compared, 60, {})[0] == (
        "At the last cycle no strategy is told apart from random, which has the highest mean itself, 0.300 test "
        "mAP with 60 labelled images; mgral comes nearest with −0.010."
    )


def test_who_reads_the_ground_truth_never_leads() -> None:
    rules = {
        "oracle": Rule("reads the ground truth", True, {}),
        "crowds": Rule("picks crowded images", False, {}),
        "random": Rule(None, False, {}),
    }
    # oracle 0.5 above; crowds: gains −0.03 and 0.05
    totals, compared = judged({"random": [0.3, 0.3], "oracle": [0.5, 0.5], "crowds": [0.27, 0.35]})
    first, remark = text.headline(totals, compared, 60, rules)
    assert first == (
        "At the last cycle no strategy is told apart from random: crowds, a control, has the highest mean, 0.310 test "
        "mAP with 60 labelled images (+0.010)."
    )
    assert remark.startswith("crowds at the last cycle: no detectable difference to random (+0.010")
    assert remark.endswith(" oracle reads the ground truth and takes no part in this: 0.500 (+0.200).")
    assert "Over the whole curve only" not in remark
    # without a strategy to compare with, neither
    totals, compared = judged({"mgral": [0.3], "oracle": [0.5]}, None)
    assert text.headline(totals, compared, 60, rules) == (
        "mgral reaches 0.300 test mAP with 60 labelled images (one seed).",
        "The run has no random strategy to compare with, so what its choice is worth cannot be said. "
        "oracle reads the ground truth and takes no part in this: 0.500.",
    )


def test_controls_are_named() -> None:
    assert text.controls({}) is None
    assert text.controls({"crowds": "picks crowds", "oracle": "reads the ground truth"}) == (
        "No contenders but controls: crowds (picks crowds), oracle (reads the ground truth)."
    )


def test_extrapolated_prices_are_told_where_they_are_most() -> None:
    assert text.extrapolated([]) is None
    assert text.extrapolated([(50, 100), (10, 100), (0, 0)]) is None  # half is not most; nothing was priced
    # (80 + 100) / (100 + 100)
    assert text.extrapolated([(80, 100), (100, 100)]) == (
        "90 % of the batches lay far from every record: these prices are extrapolated."
    )
    # of the two in which it was most
    assert text.extrapolated([(80, 100), (100, 100), (50, 100)]) == (
        "90 % of the batches in 2 of 3 searches lay far from every record: these prices are extrapolated."
    )


def test_one_seed_allows_no_statement() -> None:
    totals, compared = judged({"random": [0.3], "mgral": [0.4]})
    first, remark = text.headline(totals, compared, 60, {})
    assert first == (
        "At the last cycle no strategy is told apart from random: mgral has the highest mAP, 0.400 test mAP with "
        "60 labelled images (+0.100)."
    )
    assert remark.startswith("mgral at the last cycle: cannot be said from one seed (+0.100 against random).")


def test_seeds_that_differ_by_the_same_allow_no_statement() -> None:
    _, remark = text.headline(*judged({"random": [0.25, 0.5], "mgral": [0.375, 0.625]}), 60, {})
    assert remark.startswith(
        "mgral at the last cycle: cannot be said from 2 seeds that all differ by the same (+0.125 against random)."
    )


def test_without_a_random_strategy_nothing_is_compared() -> None:
    totals, compared = judged({"random": [0.3, 0.3], "mgral": [0.4, 0.42]}, None)
    first, remark = text.headline(totals, compared, 60, {})
    assert first == "mgral has the highest mean: 0.410 test mAP with 60 labelled images (± 0.014 over 2 seeds)."
    assert remark.startswith("The run has no random strategy")


def test_a_single_strategy_has_won_nothing() -> None:
    totals, compared = judged({"random": [0.3]})
    first, remark = text.headline(totals, compared, 60, {})
    assert first == "random reaches 0.300 test mAP with 60 labelled images (one seed)."
    assert remark.startswith("The run has no other strategy")


def test_an_interval_without_zero_may_be_one_of_many() -> None:
    # gains 0.02, 0.024, 0.028 beside five level strategies: p = 1 - √(108/110) = 0.0091324, six times that 0.055;
    # error 0.004/√3 = 0.0023094, times 4.3027: 0.024 ∓ 0.0099
    level = {f"level_{k}": [0.30, 0.30 + 0.001 * k, 0.30 - 0.001 * k] for k in range(1, 6)}
    _, compared = judged({"random": [0.3] * 3, "good": [0.32, 0.324, 0.328], **level})
    good = compared.against("random", "mAP")[0]
    assert text.verdict(good, 6) == (
        "no detectable difference to random (+0.024, 95 % interval +0.014 to +0.034, 3 seeds); its interval leaves out "
        "zero, but one of 6 comparisons may do so by chance (p = 0.055 after Holm)"
    )


def test_a_curve_that_never_finished_is_not_judged() -> None:
    _, compared = judged({"random": [0.3, 0.3], "mgral": [0.3, 0.3]})
    nothing = compared.against("random", "mAP")[0].model_copy(update={"mean": None, "seeds": []})
    assert text.verdict(nothing, 1) == "cannot be said, for want of a seed in which both curves are complete"


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        (1, "With one seed there is no interval and no verdict"),
        (2, "with 2 seeds, 12.7 standard errors to either side. From two seeds it nearly always covers zero"),
        (3, "with 3 seeds, 4.3 standard errors to either side."),
        (5, "with 5 seeds, 2.8 standard errors to either side."),
    ],
)
def test_what_an_interval_is_worth(seeds: int, says: str) -> None:
    assert says in text.intervals(seeds)


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        (1, "no band"),
        # both seeds on one side of the mean: 2 · ¼; all three: 2 · ⅛
        (2, "about 50 % of experiments, not in 95 %"),
        (3, "about 75 % of experiments, not in 95 %"),
        (4, "too narrow with few seeds"),
    ],
)
def test_what_a_band_is_worth(seeds: int, says: str) -> None:
    assert says in text.band(seeds)


def test_curves_with_gaps_are_named() -> None:
    _, compared = judged({"random": [0.3, 0.3], "mgral": [0.3, 0.3]})
    curve = compared.curves[1].model_copy(update={"missing": {1: [2, 3]}})
    compared = compared.model_copy(update={"curves": [compared.curves[0], curve]})
    assert text.gaps(compared) == ["mgral, seed 1: no cycle 2, 3; left out of the comparison"]


def audit(spearman: float | None, mae: float, records: int = 17, deviation: float = 0.25) -> dict[str, Any]:
    chance = {"mean": -0.1, "deviation": deviation}
    return {"records": records, "spearman": spearman, "chance": chance, "mae": mae, "mae_mean": 0.02}


@pytest.mark.parametrize(
    ("audits", "verdict"),
    [
        # shuffled: -0.1 ± 0.25, so one table must pass -0.1 + 2 · 0.25 = 0.4
        ([audit(0.41, 0.01)], "carries signal"),
        ([audit(0.39, 0.01)], "may carry a weak signal, not told apart from chance"),
        ([audit(-0.09, 0.01)], "may carry a weak signal, not told apart from chance"),
        # four tables: √(4 · 0.25²)/4 = 0.125, so the mean must pass -0.1 + 0.25
        ([audit(0.16, 0.01)] * 4, "carries signal"),
        ([audit(0.14, 0.01)] * 4, "may carry a weak signal, not told apart from chance"),
        ([audit(0.9, 0.03)], "does not carry signal"),
        ([audit(-0.11, 0.01)], "does not carry signal"),
        ([audit(None, 0.01)], "cannot be judged"),
        ([audit(1.0, 0.01, records=2)], "cannot be judged"),
    ],
)
def test_the_verdict_on_the_lookup_table(audits: list[dict[str, Any]], verdict: str) -> None:
    assert text.signal(audits)[0] == verdict


def test_the_numbers_behind_the_verdict() -> None:
    assert text.signal([audit(0.4, 0.01, deviation=0.3), audit(0.6, 0.02, records=26, deviation=0.4)])[1] == (
        # 2 · √(0.3² + 0.4²)/2 = 0.5
        "Held-out records (2 tables of 17 to 26): mean rank correlation +0.50, with the gains shuffled −0.10 ± 0.50 "
        "(two standard deviations; below 0, since a record left out lowers or raises the mean of the others); "
        "mean absolute error 0.0150 mAP, predicting the mean 0.0200. This is how well the table foretells "
        "other proxies; whether proxies rank batches as their labels do, it cannot know."
    )


def spreads(batches: float, seeds: float | None) -> dict[str, Any]:
    return {"records": 8, "stopped": 0, "between_batches": batches, "between_random": None, "between_seeds": seeds}


def test_batches_are_held_against_seeds() -> None:
    # two tables: between batches (0.01 + 0.03) / 2 = 0.02, between seeds (0.01 + 0.02) / 2 = 0.015
    audits = [
        {"kinds": {"unlabelled": spreads(0.01, 0.01), "replay": spreads(0.01, 0.02)}, "control": None},
        {"kinds": {"unlabelled": spreads(0.03, 0.02)}, "control": None},
    ]
    assert text.noise_of_records(audits) == [
        "Unlabelled records differ between batches by ± 0.0200 mAP, more than seeds of one batch do (± 0.0150).",
        "Replay records differ between batches by ± 0.0100 mAP, no more than seeds of one batch do (± 0.0200).",
    ]
    alone = [{"kinds": {"replay": {**spreads(0.02, None), "between_random": 0.01}}, "control": None}]
    assert text.noise_of_records(alone) == [
        "Replay records differ between batches by ± 0.0200 mAP (random batches by ± 0.0100); "
        "how much seeds of one batch differ was not measured."
    ]
    stopped = [{"kinds": {"replay": {**spreads(0.02, 0.01), "stopped": count}}, "control": None} for count in (0, 3)]
    assert text.noise_of_records(stopped) == [
        "Replay records differ between batches by ± 0.0200 mAP (3 of 16 were stopped partway, and count as expected), "
        "more than seeds of one batch do (± 0.0100)."
    ]


def test_the_control_is_told_beside_its_batches() -> None:
    control = {"batches": 3, "mean": 0.3, "spread": 0.02, "control_mean": 0.4, "control_spread": 0.002}
    assert text.noise_of_records([{"kinds": {}, "control": control}]) == [
        "Control, the same 3 unlabelled batches with unsupervised weight zero: mAP 0.4000 with a spread of ± 0.0020, "
        "against 0.3000 and ± 0.0200 with the weight."
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0214, "+0.021"), (-0.0214, "−0.021"), (None, "–"), (math.nan, "–"), (-0.0001, "0.000")]
)
def test_signed_numbers(value: float | None, shown: str) -> None:
    assert text.signed(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(4.25, "4.2 s"), (59.96, "1 min 00 s"), (190, "3 min 10 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_reasons_are_rounded() -> None:
    assert text.reason({"mean_entropy": 3.14159, "detections": 7, "most_like": "record 3"}) == [
        ("mean entropy", "3.14"),
        ("detections", "7"),
        ("most like", "record 3"),
    ]


def test_what_chance_alone_does() -> None:
    noise = {"images": 110, "repeats": 4, "mAP": {"deviation": 0.006}}
    # 2 · 0.006 · √(2/3) = 0.0098; for single runs 2 · 0.006 · √2 = 0.017
    assert "less than about 0.010 " in text.chance(noise, 3)
    assert "single runs differ by less than about 0.017 " in text.chance(noise, 1)
