"""Gains of free rules in replay, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

from scipy import stats

from mgral.report import replay_gains

BALANCED, GROWTH, LEARNABLE, ENTROPY = replay_gains.RULES


def audit(*splits: dict[str, float], seeds: float | None = None, random: float | None = None) -> dict[str, Any]:
    """Two random records a split, and gains by generator; between ``random`` and of three ``seeds`` a split."""
    points = [
        {"kind": "replay", "generator": generator, "trained": gain, **({"split": number} if number > 1 else {})}
        for number, gains in enumerate(splits, 1)
        for generator, gain in [("random", 0.5), ("random", -0.5), ("varied rule growth", 0.5), *gains.items()]
    ]
    points += [{"kind": "unlabelled", "generator": BALANCED, "trained": 0.5}]
    replay = {"between_seeds": seeds, "between_random": random, "seeds": 3 * len(splits) if seeds else 0}
    return {"points": points, "kinds": {"replay": {**replay, **({"splits": len(splits)} if len(splits) > 1 else {})}}}


def only_row(one: dict[str, Any]) -> list[str]:
    found = replay_gains.table([one])
    assert found is not None and len(found.rows) == 1
    return list(found.rows[0])


def shown(found: Any) -> dict[str, list[str]]:
    return {row[0]: [text.replace("\u2212", "-") for text in row[1:]] for row in found.rows}


def test_records_are_pooled_over_tables_and_splits() -> None:
    # balanced 0.01, 0.03 and 0.05, learnable 0.02: squares about the means 8e-4 with 2 degrees of freedom, deviation
    # 0.02. Of three records 4.3027 times 0.02 / sqrt 3 are 0.0497, of one 0.0861.
    found = replay_gains.table([audit({BALANCED: 0.01, LEARNABLE: 0.02}, {BALANCED: 0.03}), audit({BALANCED: 0.05})])
    assert shown(found) == {
        "balanced": ["+0.0300", "-0.0197 to +0.0797", "3"],
        "learnable": ["+0.0200", "-0.0661 to +0.1061", "1"],
    }
    assert replay_gains.table([audit({"least entropy": 0.3})]) is None


def test_an_interval_is_no_narrower_than_repeats_allow() -> None:
    # Repeats deviate by 0.006 with 2 degrees of freedom, random records by 0.008, so that the mean of two does by
    # 0.008 / sqrt 2; of the gain of one record that is sqrt(3.6e-5 + 3.2e-5)
    row = only_row(audit({GROWTH: 0.01}, seeds=0.006, random=0.008))
    half = stats.t.ppf(0.975, 2) * math.sqrt(6.8e-5)
    assert row[1:3] == ["+0.0100", f"\u2212{half - 0.01:.4f} to +{half + 0.01:.4f}"]
    equal = audit({GROWTH: 0.01}, {GROWTH: 0.01}, seeds=0.006, random=0.008)  # equal gains by chance: 4 of the repeats
    row = only_row(equal)
    half = stats.t.ppf(0.975, 4) * math.sqrt(6.8e-5 / 2)
    assert row[2] == f"\u2212{half - 0.01:.4f} to +{half + 0.01:.4f}"
    row = only_row(audit({GROWTH: 0.01}))
    assert row[2] == "\u2013"  # one record, and no repeats


def test_rules_of_one_split_are_compared_within_it() -> None:
    # The splits lie 0.2 apart, balanced 0.02 above entropy in each but for 0.001: paired differences of 0.021, 0.019
    # and 0.02 deviate by 0.001, and the error of their mean is 0.001 / sqrt 3. With four rules none would be seen.
    splits = [{BALANCED: 0.2 * k + 0.02 + wobble, ENTROPY: 0.2 * k} for k, wobble in enumerate((0.001, -0.001, 0.0))]
    said = replay_gains.differences([audit(*splits)])
    p = 2 * stats.t.sf(0.02 / (0.001 / math.sqrt(3)), 2)
    assert said == "Detectable differences in replay: balanced above entropy (+0.0200, p < 0.001)." and p < 0.001
    noisy = replay_gains.differences([audit(*splits, seeds=0.02)])  # error 0.02 sqrt(2 / 3), 2.447 of it 0.04
    assert noisy == f"{replay_gains.NO_DIFFERENCE} Those below about 0.040 mAP are lost in noise."


def test_the_correction_is_for_all_pairs() -> None:
    # One record of each and repeats with 2 degrees of freedom: error 0.001 sqrt 2. p of 0.03 / that is 0.002, times 3;
    # of 0.001 and 0.029 it is 0.55 and 0.0024, the latter times 2
    said = replay_gains.differences([audit({BALANCED: 0.03, LEARNABLE: 0.029, ENTROPY: 0.0}, seeds=0.001)])
    p = [2 * stats.t.sf(gain / (0.001 * math.sqrt(2)), 2) for gain in (0.03, 0.029)]
    assert said == (
        f"Detectable differences in replay: balanced above entropy (+0.0300, p = {3 * p[0]:.3f}); "
        f"learnable above entropy (+0.0290, p = {max(2 * p[1], 3 * p[0]):.3f}). "
        "None between balanced and learnable. Those below about 0.006 mAP are lost in noise."
    )


def test_where_nothing_can_be_said() -> None:
    assert replay_gains.differences([audit({BALANCED: 0.03, ENTROPY: 0.0})]) == replay_gains.UNKNOWN
    assert replay_gains.differences([audit({BALANCED: 0.03})]) is None


def test_a_batch_that_several_rules_choose_counts_for_each() -> None:
    found = shown(replay_gains.table([audit({f"{BALANCED}, {LEARNABLE}": 0.02, f"{ENTROPY}, most novelty": 0.01})]))
    assert {name: [row[0], row[2]] for name, row in found.items()} == {
        "balanced": ["+0.0200", "1, 1 shared"],
        "learnable": ["+0.0200", "1, 1 shared"],
        "entropy": ["+0.0100", "1"],
    }


def test_a_shared_record_is_one_measurement() -> None:
    # balanced and learnable always choose one batch, so that there are as many measurements as without learnable:
    # their differences to entropy of 0.031, 0.029 and 0.03 deviate by 0.001, with 2 degrees of freedom.
    gaps = (0.031, 0.029, 0.03)
    shared = [{f"{BALANCED}, {LEARNABLE}": 0.2 * k + gap, ENTROPY: 0.2 * k} for k, gap in enumerate(gaps)]
    p = 2 * stats.t.sf(0.03 / (0.001 / math.sqrt(3)), 2)
    said = replay_gains.differences([audit(*shared)])
    assert said is not None and said.startswith(
        f"Detectable differences in replay: balanced above entropy (+0.0300, p = {3 * p:.3f}); "
        f"learnable above entropy (+0.0300, p = {3 * p:.3f}). None between balanced and learnable."
    )


def test_where_two_rules_share_a_record_it_adds_no_noise_to_their_difference() -> None:
    # One of two splits is shared: half of the difference is 0 for certain. The gap of 0.02 in the other is 0.01 on
    # average, with sqrt 2 / 2 of a record's deviation as its error, where two records each would have all of it.
    splits = [{f"{BALANCED}, {LEARNABLE}": 0.05}, {BALANCED: 0.07, LEARNABLE: 0.05}]
    half = stats.t.ppf(0.975, 4) * 0.02 / math.sqrt(2)
    assert replay_gains.differences([audit(*splits, seeds=0.02)]) == (
        f"{replay_gains.NO_DIFFERENCE} Those below about {half:.3f} mAP are lost in noise."
    )
