"""Strategies compared: areas, intervals of the mixed model, Holm's correction and verdicts, worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mgral import cli
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.report import comparison, learning_curves


def frame(values: dict[str, dict[int, list[float]]]) -> pd.DataFrame:
    """Curves with 10, 20, 30 … images and 100, 200, 300 … boxes; AP50 is twice mAP."""
    rows = [
        (strategy, seed, cycle, 10 * cycle + 10, 100 * cycle + 100, value, 2 * value)
        for strategy, by_seed in values.items()
        for seed, curve in by_seed.items()
        for cycle, value in enumerate(curve)
    ]
    return pd.DataFrame(rows, columns=learning_curves.COLUMNS)


def final(values: dict[str, list[float]]) -> pd.DataFrame:
    """Curves of two cycles that start at 0.2 and end at ``values``, one a seed."""
    return frame({name: {seed: [0.2, value] for seed, value in enumerate(ends)} for name, ends in values.items()})


def only(compared: comparison.Comparison, reference: str, measure: str) -> comparison.Difference:
    (found,) = compared.against(reference, measure)
    return found


THREE = {"random": [0.30, 0.32, 0.34], "mgral": [0.31, 0.34, 0.37]}


def test_the_interval_of_three_seeds() -> None:
    # differences 0.01, 0.02, 0.03: mean 0.02, deviation √((0.01² + 0 + 0.01²)/2) = 0.01, error 0.01/√3 = 0.0057735;
    # the 97.5 % quantile of t with 2 degrees of freedom is 4.3027: 0.02 ∓ 4.3027 · 0.0057735 = 0.02 ∓ 0.0248414
    found = only(comparison.compare(final(THREE), "random"), "random", "mAP")
    assert found.seeds == [0, 1, 2] and found.by_seed == pytest.approx([0.01, 0.02, 0.03])
    assert found.mean == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx((-0.0048414, 0.0448414), abs=1e-6)
    # t = 0.02/0.0057735 = 3.4641; with 2 degrees of freedom P(|T| > t) = 1 - t/√(2 + t²) = 1 - √(12/14) = 0.0741799
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-6)
    assert found.p_holm == found.p  # a single comparison
    assert found.verdict == "undetected"


def test_the_interval_of_two_seeds_is_12_7_standard_errors() -> None:
    # differences 0.01 and 0.03: mean 0.02, deviation 0.0141421, error 0.01; 12.7062 · 0.01 = 0.127062
    found = only(comparison.compare(final({"random": [0.3, 0.3], "mgral": [0.31, 0.33]}), "random"), "random", "mAP")
    assert (found.low, found.high) == pytest.approx((-0.107062, 0.147062), abs=1e-6)


def test_areas_are_compared_as_the_final_values_are() -> None:
    # both start at 0.2, so that an area over images or boxes, (0.2 + final)/2, differs by half of what the ends do
    compared = comparison.compare(final(THREE), "random")
    for measure in ("auc_images", "auc_boxes"):
        assert only(compared, "random", measure).by_seed == pytest.approx([0.005, 0.01, 0.015])
    assert only(compared, "random", "AP50").by_seed == pytest.approx([0.02, 0.04, 0.06])


def test_holm_on_three_values() -> None:
    # ascending 0.01, 0.02, 0.04 times 3, 2, 1 is 0.03, 0.04, 0.04; none may be smaller than the one before
    assert comparison.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    # 0.03, 0.03, 0.03 times 3, 2, 1 is 0.09, 0.06, 0.03: all 0.09. 0.6 · 2 = 1.2 is cut off at 1
    assert comparison.holm([0.03, 0.03, 0.03]) == pytest.approx([0.09, 0.09, 0.09])
    assert comparison.holm([0.6, 0.7]) == [1.0, 1.0]
    assert comparison.holm([]) == []


def test_a_strategy_pays_for_the_number_of_its_rivals() -> None:
    # good differs by 0.02, 0.024, 0.028, the others by nothing: of seven columns, six level ones, of other
    # detectors (AP50 differs). Residuals of good are ∓0.004 · 6/7, of the others ±0.004/7 in two seeds: s² = 2 ·
    # 0.004² · (36 + 6)/49 / (2 · 6)
    level = {f"level_{k}": [0.30, 0.30, 0.30] for k in range(1, 6)}
    good = {"random": [0.30, 0.30, 0.30], "good": [0.32, 0.324, 0.328]}
    alone = only(comparison.compare(final(good), "random"), "random", "mAP")
    assert alone.p == pytest.approx(1 - math.sqrt(108 / 110)) and alone.verdict == "better"
    curves = final({**good, **level})
    curves["AP50"] += 0.001 * curves["strategy"].map({name: k for k, name in enumerate(curves["strategy"].unique())})
    compared = comparison.compare(curves, "random").against("random", "mAP")
    among = compared[0]
    error = math.sqrt(2 * 0.004**2 * 42 / 49 / 12 * 2 / 3)
    assert among.strategy == "good" and among.high == pytest.approx(0.024 + stats.t.ppf(0.975, 12) * error)
    assert among.p is not None and among.p_holm == pytest.approx(6 * among.p)
    assert [one.verdict for one in compared] == ["better", *["undetected"] * 5]


def test_strategies_with_the_same_picks_add_no_certainty() -> None:
    # copies of random and of good: as many trainings as without them, so the same interval, and p four times as often
    good = {"random": [0.30, 0.31, 0.32], "good": [0.32, 0.334, 0.348]}
    alone = only(comparison.compare(final(good), "random"), "random", "mAP")
    copies = {"again": good["random"], "better": good["good"], "best": good["good"]}
    found = comparison.compare(final({**good, **copies}), "random").against("random", "mAP")
    for one in (found[0], found[2], found[3]):
        assert (one.low, one.high, one.p) == pytest.approx((alone.low, alone.high, alone.p))
        assert one.p_holm == pytest.approx(4 * one.p)
    assert learning_curves.alike(final({**good, **copies})) == [["random", "again"], ["good", "better", "best"]]


def test_a_difference_below_the_noise_floor_is_not_better() -> None:
    """Three seeds that happen to agree: +0.006, with a floor of 0.012."""
    ends = {"random": [0.3, 0.3, 0.3], "mgral": [0.3059, 0.306, 0.3061]}
    assert only(comparison.compare(final(ends), "random"), "random", "mAP").verdict == "better"
    noise = {"mAP": {"deviation": 0.006 / math.sqrt(2 / 3)}}
    one = only(comparison.compare(final(ends), "random", noise=noise), "random", "mAP")
    assert (one.floor, one.verdict) == (pytest.approx(0.012), "undetected")
    # the standard error is that of retraining: 0.006, so that t = 1; P(|T| > 1) = 1 - 1/√3 with 2 degrees of freedom
    assert one.p == pytest.approx(1 - 1 / math.sqrt(3), abs=1e-6)


def test_a_difference_of_2_7_floors_is_detected() -> None:
    """-0.032 with a floor of 0.012 among eight strategies; the paired test alone (2 degrees of freedom) gave 0.009."""
    level = {f"level_{k}": [0.3 + 0.0001 * k + 0.005 * ((k + s) % 3 - 1) for s in range(3)] for k in range(6)}
    ends = {"random": [0.3, 0.3, 0.3], "entropy": [0.2627, 0.268, 0.2733], **level}
    noise = {"mAP": {"deviation": 0.006 / math.sqrt(2 / 3)}}
    paired = only(comparison.compare(final({k: ends[k] for k in ("random", "entropy")}), "random"), "random", "mAP")
    assert paired.p == pytest.approx(0.009, abs=0.0005)  # t = 0.032/(0.0053/√3); after Holm over seven: 0.06
    one = comparison.compare(final(ends), "random", noise=noise).against("random", "mAP")[0]
    assert one.mean == pytest.approx(-0.032)
    assert one.verdict == "worse" and one.p_holm is not None and one.p_holm < 0.01


def test_a_difference_within_the_floor_stays_undetected_however_small_p_is() -> None:
    assert comparison._verdict(0.01, 1e-6, 0.012) == "undetected"
    assert comparison._verdict(-0.013, 1e-6, 0.012) == "worse"


def test_what_labels_were_worth() -> None:
    # gains 0.10, 0.12, 0.14: mean 0.12; error 0.02/√3, times 2.91999: 0.0337
    gain = comparison.compare(final(THREE), "random").gain
    assert gain is not None and gain.images == (10, 20) and gain.helped
    assert (gain.mean, gain.limit) == (pytest.approx(0.12), pytest.approx(2.91999 * 0.02 / math.sqrt(3), abs=1e-5))
    # gains 0.01, 0.012, 0.014 would pass that test; they do not exceed twice 0.01 · √(2/3) = 0.0163
    small = final({"random": [0.21, 0.212, 0.214], "mgral": [0.3, 0.3, 0.3]})
    found = comparison.compare(small, "random", noise={"mAP": {"deviation": 0.01}}).gain
    assert found is not None and found.limit == pytest.approx(0.02 * math.sqrt(2 / 3)) and found.helped is False
    # of four trainings the deviation is not known well: the 95 % quantile of t with 3 degrees of freedom is 2.3534
    noise = {"repeats": 4, "mAP": {"deviation": 0.01}}
    found = comparison.compare(small, "random", noise=noise).gain
    assert found is not None and found.limit == pytest.approx(0.023534 * math.sqrt(2 / 3), abs=1e-5)
    assert comparison.Gain(images=(1, 2), mean=-0.01, limit=None).helped is False
    assert comparison.Gain(images=(1, 2), mean=0.01, limit=None).helped is None
    assert comparison.compare(final(THREE), None).gain is None


def test_a_strategy_s_own_detector_is_compared_with_nothing() -> None:
    """Its curve is kept; verdicts, references and Holm's correction are as without it, however good it is."""
    ends = {"random": [0.30, 0.30, 0.30], "mi_aod": [0.32, 0.324, 0.328], "mgral": [0.31, 0.30, 0.29]}
    plain = comparison.compare(final(ends), "random", ["random", "mi_aod"])
    beside = final({**ends, "mi_aod:own": [0.5, 0.6, 0.7]})
    compared = comparison.compare(beside, "random", ["random", "mi_aod"])
    assert compared.model_copy(update={"own": []}) == plain
    better = compared.against("random", "mAP")[0]
    assert better.p is not None and better.p_holm == pytest.approx(2 * better.p)  # of two comparisons, not of three
    (own,) = compared.own
    assert (own.strategy, own.seeds) == ("mi_aod:own", [0, 1, 2])
    assert own.points[-1].mAP.mean == pytest.approx(0.6)


def test_worse_is_said_as_well() -> None:
    ends = {"random": [0.30, 0.32, 0.34], "entropy": [0.26, 0.281, 0.299]}
    assert only(comparison.compare(final(ends), "random"), "random", "mAP").verdict == "worse"


@pytest.mark.parametrize(("p", "verdict"), [(0.0499, "better"), (0.05, "undetected"), (0.0501, "undetected")])
def test_the_line_between_verdicts(p: float, verdict: str) -> None:
    assert comparison._verdict(0.01, p) == verdict


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    compared = comparison.compare(final({"random": [0.30], "mgral": [0.35]}), "random")
    found = only(compared, "random", "mAP")
    assert found.mean == pytest.approx(0.05)
    assert (found.low, found.high, found.p, found.p_holm, found.verdict) == (None, None, None, None, "unknown")
    assert all((point.mAP.low, point.mAP.high) == (None, None) for curve in compared.curves for point in curve.points)


def test_equal_curves_are_no_difference() -> None:
    found = only(comparison.compare(final({"random": [0.3, 0.4], "same": [0.3, 0.4]}), "random"), "random", "mAP")
    assert (found.mean, found.low, found.high, found.p, found.verdict) == (0.0, 0.0, 0.0, 1.0, "undetected")


def test_single_points_have_no_area() -> None:
    compared = comparison.compare(frame({"random": {0: [0.2], 1: [0.3]}, "mgral": {0: [0.2], 1: [0.3]}}), "random")
    area = only(compared, "random", "auc_images")
    assert (area.seeds, area.mean, area.p, area.verdict) == ([], None, None, "unknown")
    assert only(compared, "random", "mAP").mean == 0.0


def test_a_curve_that_lacks_a_cycle_is_left_out_of_its_seed() -> None:
    whole = {0: [0.2, 0.3, 0.4], 1: [0.2, 0.3, 0.4], 2: [0.2, 0.3, 0.4]}
    compared = comparison.compare(frame({"random": whole, "mgral": {**whole, 1: [0.2, 0.3]}}), "random")
    random, mgral = compared.curves
    assert (random.missing, mgral.missing, mgral.seeds) == ({}, {1: [2]}, [0, 2])
    assert only(compared, "random", "mAP").seeds == [0, 2]
    # its short curve does not shorten the range of the others
    assert only(compared, "random", "auc_images").by_seed == pytest.approx([0.0, 0.0])
    assert [point.mAP.seeds for point in mgral.points] == [3, 3, 2]


def test_a_strategy_without_a_whole_curve_is_not_judged() -> None:
    compared = comparison.compare(frame({"random": {0: [0.2, 0.3]}, "mgral": {0: [0.2]}}), "random")
    found = only(compared, "random", "mAP")
    assert (found.seeds, found.mean, found.verdict) == ([], None, "unknown")


def test_the_best_baseline_is_the_second_reference() -> None:
    ends = {"random": [0.30, 0.30], "entropy": [0.35, 0.36], "coreset": [0.33, 0.34], "mgral": [0.40, 0.42]}
    compared = comparison.compare(final(ends), "random", ["random", "entropy", "coreset"])
    assert (compared.reference, compared.baseline) == ("random", "entropy")
    assert [one.strategy for one in compared.against("entropy", "mAP")] == ["random", "coreset", "mgral"]
    # 0.40 - 0.35 and 0.42 - 0.36
    assert compared.against("entropy", "mAP")[2].by_seed == pytest.approx([0.05, 0.06])
    assert comparison.compare(final(ends), "random").baseline is None


def test_random_as_the_best_baseline_is_compared_once() -> None:
    compared = comparison.compare(final({"random": [0.3, 0.3], "entropy": [0.2, 0.2]}), "random", ["random", "entropy"])
    assert compared.baseline == "random"
    assert len(compared.differences) == len(learning_curves.MEASURES)


def test_without_random_the_best_baseline_remains() -> None:
    compared = comparison.compare(final({"entropy": [0.3, 0.31], "mgral": [0.4, 0.4]}), None, ["entropy"])
    assert (compared.reference, compared.baseline) == (None, "entropy")
    assert only(compared, "entropy", "mAP").mean == pytest.approx(0.095)


@pytest.mark.parametrize("count", [2, 3])
def test_the_bootstrap_of_two_and_three_seeds_spans_them(count: int) -> None:
    # all draws are the lowest seed in 1 of 2² = 4 or 3³ = 27 resamples: more than 2.5 %
    ends = [0.30, 0.31, 0.36][:count]
    (curve,) = comparison.compare(final({"random": ends}), "random").curves
    last = curve.points[-1].mAP
    assert (last.mean, last.low, last.high) == pytest.approx((sum(ends) / count, ends[0], ends[-1]))


def test_the_bootstrap_of_ten_seeds_is_near_the_normal_interval() -> None:
    # 0.30, 0.31 … 0.39: mean 0.345; deviation with n in place of n - 1: 0.01 · √(99/12) = 0.0287228; of the mean
    # 0.0287228/√10 = 0.0090830, times 1.96 = 0.0178
    (curve,) = comparison.compare(final({"random": [0.3 + 0.01 * k for k in range(10)]}), "random").curves
    last = curve.points[-1].mAP
    assert (last.low, last.high) == pytest.approx((0.345 - 0.0178, 0.345 + 0.0178), abs=0.001)


def test_the_bootstrap_does_not_depend_on_the_company(tmp_path: Path) -> None:
    ends = [0.30, 0.31, 0.33, 0.36, 0.37]
    alone = comparison.compare(final({"random": ends}), "random").curves[0]
    beside = comparison.compare(final({"mgral": ends[::-1], "random": ends}), "random").curves[1]
    assert alone == beside
    shuffled = final({"random": ends}).iloc[::-1]
    assert comparison.compare(shuffled, "random").curves[0].points == alone.points


def test_the_floor_of_chance() -> None:
    # 2 · 0.006 · √(2/3) = 0.0097980
    noise = {"images": 110, "repeats": 4, "mAP": {"deviation": 0.006}}
    assert comparison.floor(noise, 3) == pytest.approx(0.0097980, abs=1e-7)
    assert comparison.compare(final(THREE), "random", noise=noise).floor == pytest.approx(0.0097980, abs=1e-7)


def test_it_is_written_and_read_back(tmp_path: Path) -> None:
    compared = comparison.compare(final({**THREE, "entropy": [0.3, 0.3, 0.3]}), "random", ["random", "entropy"])
    comparison.write(compared, tmp_path / "a.json")
    assert comparison.read(tmp_path / "a.json") == compared
    comparison.write(
        comparison.compare(final({**THREE, "entropy": [0.3, 0.3, 0.3]}), "random", ["random", "entropy"]),
        tmp_path / "b.json",
    )
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_another_file_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "c.json", {"confidence": 2})
    with pytest.raises(MgralError, match=r"c\.json: not a comparison, run `mgral compare` again"):
        comparison.read(tmp_path / "c.json")


PARAMS = "strategies: [random, entropy, mgral]\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(PARAMS)
    learning_curves.write(final({**THREE, "entropy": [0.31, 0.31, 0.31]}), tmp_path / "curve.csv")
    return tmp_path


def test_the_verb(here: Path) -> None:
    write_json(here / "noise.json", {"images": 20, "repeats": 2, "mAP": {"deviation": 0.01}})
    arguments = ["--params", "p.yaml", "--curve", "curve.csv", "--noise", "noise.json", "--out", "c.json"]
    assert cli.main(["compare", *arguments, "--baselines", "random", "entropy"]) == 0
    found = read_json(here / "c.json")
    assert (found["reference"], found["baseline"], found["seeds"]) == ("random", "random", [0, 1, 2])
    assert found["floor"] == pytest.approx(2 * 0.01 * math.sqrt(2 / 3))


@pytest.mark.parametrize(
    ("change", "extra", "says"),
    [
        ({"p.yaml": "strategies: [random, coreset]\n"}, [], "curve.csv: has no strategy 'coreset'"),
        (
            {"p.yaml": "strategies: [random, {name: mgral, plugin: mi_aod, options: {report: own}}]\n"},
            [],
            "curve.csv: has no strategy 'mgral:own'; run `mgral curve` again",
        ),
        ({}, ["--baselines", "entropi"], "--baselines: unknown label 'entropi'; did you mean 'entropy'?"),
        (
            {"noise.json": '{"images": 3}'},
            ["--noise", "noise.json"],
            "noise.json: lacks images, repeats or the deviation",
        ),
        ({"curve.csv": "a\n1\n"}, [], "curve.csv: its columns must be"),
        (
            {"curve.csv": ",".join(learning_curves.COLUMNS) + "\n" + 2 * "random,0,0,1,1,0.1,0.1\n"},
            [],
            "curve.csv: random, seed 0, cycle 0 is there more than once",
        ),
        ({"curve.csv": ",".join(learning_curves.COLUMNS) + "\nrandom,0,0,1,1,41.2,0.1\n"}, [], "must lie in 0..1"),
    ],
)
def test_bad_input_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], extra: list[str], says: str
) -> None:
    for name, text in change.items():
        (here / name).write_text(text)
    assert cli.main(["compare", "--params", "p.yaml", "--curve", "curve.csv", "--out", "c.json", *extra]) == 2
    printed = capsys.readouterr().err
    assert says in printed and printed.count("\n") == 1
    assert not (here / "c.json").exists()


def test_a_run_shows_its_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # differences 0.01, 0.02, 0.03 and, of coreset, 0.02, 0.0203, 0.0227: means of seeds (with random's 0) 0.01,
    # 0.0403/3, 0.0527/3, of strategies 0, 0.02, 0.021; s² = Σ residuals² / (2 · 2) is worked out below
    values = {**THREE, "coreset": [0.32, 0.3403, 0.3627]}
    comparison.write(comparison.compare(final(values), "random", ["coreset"]), tmp_path / "comparison.json")
    assert cli.main(["show", str(tmp_path)]) == 0
    levels = np.array([[0, 0.01, 0.02], [0, 0.02, 0.0203], [0, 0.03, 0.0227]])
    rest = levels - levels.mean(axis=0) - levels.mean(axis=1, keepdims=True) + levels.mean()
    error = math.sqrt(float((rest**2).sum()) / 4 * 2 / 3)

    def expected(mean: float) -> tuple[float, float, float]:
        reach = 2.7764451 * error  # 97.5 % quantile of t with 4 degrees of freedom
        p = {m: 2 * float(stats.t.sf(m / error, 4)) for m in (0.020, 0.021)}
        return mean - reach, mean + reach, max(p[0.020], 2 * p[0.021]) if mean == 0.020 else 2 * p[0.021]

    against = "  test mAP at the last cycle against {}: difference, 95% interval, p after Holm"
    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == [
        "comparison.json:",
        against.format("random"),
        "    mgral: +0.0200, {:+.4f} to {:+.4f}, p {:.4f}: better (3 seeds)".format(*expected(0.020)),
        "    coreset: +0.0210, {:+.4f} to {:+.4f}, p {:.4f}: better (3 seeds)".format(*expected(0.021)),
    ]
    assert shown[4] == against.format("coreset")
    assert shown[5].startswith("    random: -0.0210, -") and "worse" in shown[5]


def test_without_seeds_or_rivals_no_verdict_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "comparison.json"
    comparison.write(comparison.compare(final({"random": [0.3], "mgral": [0.31]}), "random"), path)
    assert cli.main(["show", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  mgral: +0.0100: not known (1 seed)"]
    for baselines in ([], ["entropy"]):  # the second: the only strategy is the best baseline
        comparison.write(comparison.compare(final({"entropy": [0.31]}), None, baselines), path)
        assert cli.main(["show", str(path)]) == 0
        assert capsys.readouterr().out == "no random strategy and no baseline to compare with\n"


def test_an_estimated_deviation_leaves_out_as_much_as_it_says() -> None:
    """100,000 differences of two trainings, against the spread of three: 95 % ± 0.2 %; with 1.96 it was 81 %."""
    rng = np.random.default_rng(0)
    deviation = rng.normal(0, 1, (100_000, 3)).std(axis=1, ddof=1)
    difference = np.abs(rng.normal(0, math.sqrt(2), 100_000))
    assert np.mean(difference <= 1.96 * math.sqrt(2) * deviation) < 0.82
    inside = np.mean(difference <= comparison.quantile(3, 0.025) * math.sqrt(2) * deviation)
    assert inside == pytest.approx(0.95, abs=0.003)
    assert comparison.quantile(None, 0.025) == pytest.approx(1.96, abs=0.001)
