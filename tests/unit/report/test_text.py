"""Sentences of the report: they follow the numbers, and say no more than these allow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from report_runs import judged

from mgral.report import comparison, headline, table_verdict, text
from mgral.report.sources import Rule


def test_a_gain_beyond_chance() -> None:
    # gains 0.04, 0.06, 0.05: mean 0.05, error 0.01/√3 = 0.0057735, times 4.3027: ∓ 0.0248; of the areas half as much
    totals, compared = judged({"random": [0.3, 0.4, 0.5], "mgral": [0.34, 0.46, 0.55]})
    assert headline.headline(totals, compared, 120, {}) == (
        "mgral is best: 0.450 test mAP with 120 labelled images, +0.050 compared with random.",
        "mgral at the last cycle: better than random by 0.050 (95 % interval +0.025 to +0.075, 3 seeds). "
        "Over the whole curve, at equal images: better than random by 0.025 "
        "(95 % interval +0.013 to +0.037, 3 seeds).",
    )


def test_a_gain_that_may_be_chance_is_no_difference() -> None:
    # gains −0.03 and 0.05: mean 0.01, error 0.04, times 12.7062: ∓ 0.508
    totals, compared = judged({"random": [0.3, 0.4], "mgral": [0.27, 0.45]})
    first, remark = headline.headline(totals, compared, 120, {})
    assert first == (
        "At the last cycle no strategy differs detectably from random. mgral has the highest mean, 0.360 test mAP with "
        "120 labelled images (+0.010)."
    )
    assert "no detectable difference from random (+0.010, 95 % interval −0.498 to +0.518, 2 seeds)" in remark


def test_a_lost_race_is_told() -> None:
    # gains −0.10, −0.08, −0.09 and −0.04, −0.02, −0.03 move alike by −0.01, 0.01, 0: residuals of random ±2/3 of that,
    # of the others ∓1/3: s² = 2 · 0.01² · (4 + 1 + 1)/9 / 4; 2.7764 · s · √(2/3) = 0.0131
    totals, compared = judged({"random": [0.4] * 3, "entropy": [0.3, 0.32, 0.31], "mgral": [0.36, 0.38, 0.37]})
    first, remark = headline.headline(totals, compared, 60, {})
    assert first == (
        "No strategy is above random: 0.400 test mAP with 60 labelled images; mgral is nearest with −0.030."
    )
    assert remark.startswith(
        "mgral at the last cycle: worse than random by 0.030 (95 % interval −0.043 to −0.017, 3 seeds)."
    )


def test_the_highest_mean_need_not_be_detected() -> None:
    def one(name: str, mean: float, told: str) -> comparison.Difference:
        return comparison.Difference.parse(
            {"strategy": name, "reference": "random", "measure": "mAP", "seeds": [0, 1], "by_seed": [mean, mean],
             "mean": mean, "low": mean - 0.001, "high": mean + 0.001, "p": 0.01, "p_holm": 0.01, "floor": None,
             "verdict": told},
            "test:",
        )  # fmt: skip

    def told(*found: comparison.Difference) -> tuple[str, str]:
        values = {"random": [0.3, 0.3], **{d.strategy: [0.3 + (d.mean or 0.0)] * 2 for d in found}}
        totals, compared = judged(values)
        both = [*found, *(d.model_copy(update={"measure": "auc_images"}) for d in found)]
        return headline.headline(totals, compared.model_copy(update={"differences": both}), 60, {})

    good, wild, bad = one("good", 0.01, "better"), one("wild", 0.02, "undetected"), one("bad", -0.02, "worse")
    first, remark = told(good, wild, bad)
    assert first == (
        "At the last cycle only good is detectably above random. wild has the highest mean, 0.320 test mAP with "
        "60 labelled images (+0.020)."
    )
    assert remark.endswith("Over the whole curve only good is detectably above random.")
    assert told(wild, bad)[0].startswith(
        "At the last cycle bad is detectably below random and none above. wild has the highest mean, 0.320"
    )
    # without wild and good, random is the highest, and bad is worse
    assert told(bad)[0].startswith("No strategy is above random: 0.300")


def test_the_best_of_several_is_not_called_best() -> None:
    # both are 0.04 above random, and apart by less than their spread
    ends = {"random": [0.3, 0.301, 0.302], "entropy": [0.34, 0.342, 0.341], "pal": [0.341, 0.34, 0.345]}
    alone, beside = judged({k: ends[k] for k in ("random", "pal")}), judged(ends)
    assert headline.headline(*alone, 60, {})[0].startswith("pal is best: 0.342 test mAP")
    first, remark = headline.headline(*beside, 60, {})
    assert first == ("pal has the highest mean: 0.342 test mAP with 60 labelled images, +0.041 compared with random.")
    assert remark.startswith("No difference from pal was detected for entropy. pal at the last cycle: better than")
    assert "Over the whole curve entropy and pal are detectably above random." in remark


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [text.listed(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_predicted_and_realised_gains() -> None:
    # ranks 1 2 3 4 5 against 2 1 3 4 5: ρ = 1 − 6 · 2/(5 · 24) = 0.9
    pairs = [(0.01, 0.02), (0.02, 0.01), (0.03, 0.03), (0.04, 0.04), (0.05, 0.05)]
    assert headline.predicted_and_realised(pairs).startswith(
        "5 chosen batches: predicted gain +0.030 mAP on average, realised +0.030. Rank correlation +0.90 (p = 0.037)."
    )
    assert headline.predicted_and_realised(pairs[:2]).endswith("Too few for a correlation.")


def test_random_may_have_the_highest_mean_untold() -> None:
    # gains −0.05 and 0.03: mean −0.01
    totals, compared = judged({"random": [0.3, 0.3], "mgral": [0.25, 0.33]})
    assert headline.headline(totals, compared, 60, {})[0] == (
        "At the last cycle no strategy differs detectably from random, which itself has the highest mean, 0.300 test "
        "mAP with 60 labelled images; mgral is nearest with −0.010."
    )


def test_who_reads_the_ground_truth_never_leads() -> None:
    rules = {
        "oracle": Rule("reads the ground truth", True, {}),
        "crowds": Rule("picks crowded images", False, {}),
        "random": Rule(None, False, {}),
    }
    # oracle 0.5 above; crowds: gains −0.03 and 0.05
    totals, compared = judged({"random": [0.3, 0.3], "oracle": [0.5, 0.5], "crowds": [0.27, 0.35]})
    first, remark = headline.headline(totals, compared, 60, rules)
    assert first == (
        "At the last cycle no strategy differs detectably from random. crowds, a control, has the highest mean, 0.310 "
        "test mAP with 60 labelled images (+0.010)."
    )
    assert remark.startswith("crowds at the last cycle: no detectable difference from random (+0.010")
    assert remark.endswith(" oracle reads the ground truth and does not compete: 0.500 (+0.200).")
    assert "Over the whole curve only" not in remark
    # without a strategy to compare with, neither
    totals, compared = judged({"mgral": [0.3], "oracle": [0.5]}, None)
    assert headline.headline(totals, compared, 60, rules) == (
        "mgral reaches 0.300 test mAP with 60 labelled images (one seed).",
        "The run has no random strategy to compare with, so the value of its choice is not known. "
        "oracle reads the ground truth and does not compete: 0.500.",
    )


def test_controls_are_named() -> None:
    assert text.controls({}) is None
    assert text.controls({"crowds": "picks crowds", "oracle": "reads the ground truth"}) == (
        "Controls, not contenders: crowds (picks crowds), oracle (reads the ground truth)."
    )


def test_extrapolated_prices_are_told_where_they_are_most() -> None:
    assert table_verdict.extrapolated([]) is None
    assert table_verdict.extrapolated([(50, 100), (10, 100), (0, 0)]) is None  # half is not most; nothing was priced
    # (80 + 100) / (100 + 100)
    assert table_verdict.extrapolated([(80, 100), (100, 100)]) == (
        "90 % of the batches are far from every record: their predicted gains are extrapolated."
    )
    # of the two in which it was most
    assert table_verdict.extrapolated([(80, 100), (100, 100), (50, 100)]) == (
        "90 % of the batches in 2 of 3 searches are far from every record: their predicted gains are extrapolated."
    )


def test_one_seed_allows_no_statement() -> None:
    totals, compared = judged({"random": [0.3], "mgral": [0.4]})
    first, remark = headline.headline(totals, compared, 60, {})
    assert first == (
        "mgral has the highest result, 0.400 test mAP with 60 labelled images (+0.100 compared with random); one seed "
        "cannot show whether that is more than chance."
    )
    assert remark.startswith("mgral at the last cycle: not known from one seed (+0.100 compared with random).")


def test_seeds_that_differ_by_the_same_allow_no_statement() -> None:
    _, remark = headline.headline(*judged({"random": [0.25, 0.5], "mgral": [0.375, 0.625]}), 60, {})
    assert remark.startswith(
        "mgral at the last cycle: not known from 2 seeds without any spread (+0.125 compared with random)."
    )


def test_without_a_random_strategy_nothing_is_compared() -> None:
    totals, compared = judged({"random": [0.3, 0.3], "mgral": [0.4, 0.42]}, None)
    first, remark = headline.headline(totals, compared, 60, {})
    assert first == "mgral has the highest mean: 0.410 test mAP with 60 labelled images (± 0.014 over 2 seeds)."
    assert remark.startswith("The run has no random strategy")


def test_a_single_strategy_has_won_nothing() -> None:
    totals, compared = judged({"random": [0.3]})
    first, remark = headline.headline(totals, compared, 60, {})
    assert first == "random reaches 0.300 test mAP with 60 labelled images (one seed)."
    assert remark.startswith("The run has no other strategy")


def test_an_interval_without_zero_may_be_one_of_many() -> None:
    _, compared = judged({"random": [0.3] * 3, "good": [0.32, 0.324, 0.328]})
    good = compared.against("random", "mAP")[0]
    one = good.model_copy(update={"p_holm": 0.055, "verdict": "undetected"})
    assert headline.verdict(one, 6) == (
        "no detectable difference from random (+0.024, 95 % interval +0.014 to +0.034, 3 seeds); the interval excludes "
        "zero, but one of 6 comparisons may do so by chance (p = 0.055 after Holm)"
    )
    within = good.model_copy(update={"p_holm": 0.01, "floor": 0.03, "verdict": "undetected"})
    assert headline.verdict(within, 6).endswith("it does not exceed the noise floor of 0.030")


def test_a_curve_that_never_finished_is_not_judged() -> None:
    _, compared = judged({"random": [0.3, 0.3], "mgral": [0.3, 0.3]})
    nothing = compared.against("random", "mAP")[0].model_copy(update={"mean": None, "seeds": []})
    assert headline.verdict(nothing, 1) == "not available: no seed has both curves complete"


@pytest.mark.parametrize(
    ("seeds", "measured", "says"),
    [
        (1, True, "With one seed there is no interval and no verdict"),
        (2, True, "Two seeds show only large differences."),
        (3, True, "is below 0.05 and it exceeds the noise floor"),
        (3, False, "Set noise.repeats to 4"),
    ],
)
def test_the_criterion_is_stated(seeds: int, measured: bool, says: str) -> None:
    assert says in text.criterion(seeds, measured)


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


def audit(spearman: float | None, mae: float, values: list[float], records: int = 17) -> dict[str, Any]:
    chance = {"mean": 0.0, "deviation": 0.1, "values": values}
    return {"records": records, "spearman": spearman, "chance": chance, "mae": mae, "mae_mean": 0.02}


HUNDRED = [k / 100 - 0.5 for k in range(100)]  # −0.50 … 0.49


@pytest.mark.parametrize(
    ("audits", "verdict"),
    [
        # of 100 shuffles 4 reach 0.46: (1 + 4)/101 = 0.0495; 5 reach 0.45: 0.0594
        ([audit(0.46, 0.01, HUNDRED)], "carries signal"),
        ([audit(0.45, 0.01, HUNDRED)], "carries no detectable signal"),
        # the mean of four tables spreads half as much: ± 0.144 around −0.005
        ([audit(0.30, 0.01, HUNDRED)] * 4, "carries signal"),
        ([audit(0.15, 0.01, HUNDRED)] * 4, "carries no detectable signal"),
        # −0.35 against −0.36 shuffled is no signal
        ([audit(-0.35, 0.01, [-0.36 + v / 10 for v in HUNDRED])], "carries no detectable signal"),
        ([audit(None, 0.01, HUNDRED)], "cannot be judged"),
        ([audit(1.0, 0.01, HUNDRED, records=2)], "cannot be judged"),
        ([audit(1.0, 0.01, [])], "cannot be judged"),
    ],
)
def test_the_verdict_on_the_lookup_table(audits: list[dict[str, Any]], verdict: str) -> None:
    assert table_verdict.signal(audits)[0] == verdict


def test_the_permutation_test_counts_shuffles() -> None:
    assert table_verdict.permutation([0.4], [[0.1, 0.4, 0.5]]) == pytest.approx(3 / 4)
    assert table_verdict.permutation([0.6], [[0.1, 0.4, 0.5]]) == pytest.approx(1 / 4)
    # two tables of shuffles −1 and 1: the mean reaches 1 in a quarter of the replicates
    assert table_verdict.permutation([1.0, 1.0], [[-1.0, 1.0]] * 2) == pytest.approx(0.25, abs=0.02)


def test_the_permutation_test_is_right_as_often_as_it_says() -> None:
    # 400 experiments of three tables without signal: 5 % ± 2 · √(0.05 · 0.95/400) = ± 2.2 %
    rng = np.random.default_rng(0)
    found = [table_verdict.permutation(rng.normal(size=3), rng.normal(size=(3, 100))) for _ in range(400)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.022)


def test_the_numbers_behind_the_verdict() -> None:
    detail = table_verdict.signal([audit(0.4, 0.01, HUNDRED), audit(0.6, 0.02, HUNDRED, records=26)])[1]
    assert detail.startswith("Held-out records (2 tables of 17 to 26): mean rank correlation +0.50; with the gains")
    assert "level 0.05. Mean absolute error 0.0150 mAP; predicting the mean gives 0.0200." in detail


def spreads(batches: float, seeds: float | None) -> dict[str, Any]:
    return {"records": 8, "stopped": 0, "between_batches": batches, "between_random": None, "between_seeds": seeds}


def test_batches_are_held_against_seeds() -> None:
    # two tables: between batches (0.01 + 0.03) / 2 = 0.02, between seeds (0.01 + 0.02) / 2 = 0.015
    audits = [
        {"kinds": {"unlabelled": spreads(0.01, 0.01), "replay": spreads(0.01, 0.02)}, "control": None},
        {"kinds": {"unlabelled": spreads(0.03, 0.02)}, "control": None},
    ]
    assert table_verdict.noise_of_records(audits) == [
        "Unlabelled records differ between batches by ± 0.0200 mAP, more than seeds of one batch do (± 0.0150).",
        "Replay records differ between batches by ± 0.0100 mAP, no more than seeds of one batch do (± 0.0200).",
    ]
    alone = [{"kinds": {"replay": {**spreads(0.02, None), "between_random": 0.01}}, "control": None}]
    assert table_verdict.noise_of_records(alone) == [
        "Replay records differ between batches by ± 0.0200 mAP (random batches by ± 0.0100); "
        "the spread between seeds of one batch was not measured."
    ]
    stopped = [{"kinds": {"replay": {**spreads(0.02, 0.01), "stopped": count}}, "control": None} for count in (0, 3)]
    assert table_verdict.noise_of_records(stopped) == [
        "Replay records differ between batches by ± 0.0200 mAP (3 of 16 were stopped early and count with their "
        "expected mAP), more than seeds of one batch do (± 0.0100)."
    ]


def test_the_control_is_told_beside_its_batches() -> None:
    control = {"batches": 3, "mean": 0.3, "spread": 0.02, "control_mean": 0.4, "control_spread": 0.002}
    assert table_verdict.noise_of_records([{"kinds": {}, "control": control}]) == [
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
    assert "The noise floor of final mAP is 0.010: means over 3 seeds of" in text.chance(noise, 3)
    assert "The noise floor of final mAP is 0.017: single runs of" in text.chance(noise, 1)
