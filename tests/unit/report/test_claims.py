"""What the report's first sentences claim: no more than is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_runs import judged

from mgral.report import comparison, headline, text


def test_labels_that_did_not_help_come_first() -> None:
    # random's gains 0.01 and −0.01: mean 0
    totals, compared = judged({"random": [0.21, 0.19], "mgral": [0.2, 0.2]})
    first, remark = headline.headline(totals, compared, 120, {})
    assert first == ("Labels did not help: from 60 to 120 labelled images, test mAP of random changed by 0.000.")
    assert "Train longer (training.steps)" in remark and "mgral" in remark


def test_images_of_a_strategy_may_help_where_those_of_random_do_not() -> None:
    # random's gain is 0, mgral's final mAP 0.105 above it; a gain above 0.05 is more than chance
    totals, compared = judged({"random": [0.21, 0.19, 0.2], "mgral": [0.31, 0.3, 0.305]})
    gain = comparison.Gain(images=(60, 120), mean=0.0, limit=0.05, most=0.07)
    first, remark = headline.headline(totals, compared.model_copy(update={"gain": gain}), 120, {})
    assert first == (
        "The images of random did not help, those of mgral did: from 60 to 120 labelled images, test mAP of random "
        "changed by 0.000, which is within chance, and that of mgral by +0.105."
    )
    assert "Train longer" not in remark
    # above the limit of one strategy, and below that of the largest of many, which exceeds the other by chance
    few = gain.model_copy(update={"most": 0.2})
    first, remark = headline.headline(totals, compared.model_copy(update={"gain": few}), 120, {})
    assert first.startswith("Labels did not help") and "Train longer" in remark
    # two seeds detect little, and labels that bring 0.1 where chance brings 0.07 did help
    totals, compared = judged({"random": [0.2, 0.2], "mgral": [0.32, 0.28]})
    found = headline.headline(totals, compared.model_copy(update={"gain": gain}), 120, {})
    assert compared.against("random", "mAP")[0].verdict == "undetected" and "those of mgral did" in found[0]


@pytest.mark.parametrize(("others", "repeats", "seeds"), [(11, 4, 3), (2, 3, 2)])
def test_labels_that_help_nobody_are_seldom_said_to_help(others: int, repeats: int, seeds: int) -> None:
    """With the limit of one strategy for the largest gain of eleven it was said in 15 % of such experiments."""
    rng, said, runs = np.random.default_rng(0), 0, 400
    for _ in range(runs):
        ends = rng.normal(size=(seeds, others + 1))
        first = rng.normal(size=seeds)
        rows = [
            {
                "strategy": "random",
                "seed": seed,
                "cycle": cycle,
                "images": 60 + cycle,
                "mAP": (first, ends[:, 0])[cycle][seed],
            }
            for seed in range(seeds)
            for cycle in (0, 1)
        ]
        noise = {"repeats": repeats, "mAP": {"deviation": float(rng.normal(size=repeats).std(ddof=1))}}
        gain = comparison._gain(pd.DataFrame(rows), noise, others)
        assert gain is not None and gain.limit is not None and gain.most is not None and gain.most >= gain.limit
        above = {f"s{k}": float((ends[:, k] - ends[:, 0]).mean()) for k in range(1, others + 1)}
        found = headline.no_gain(gain, "random", above)
        said += found is not None and "did:" in found[0]
    assert said / runs < 0.05


@pytest.mark.parametrize(
    ("mean", "limit", "says"),
    [
        (-0.2, 0.05, "changed by −0.200, a fall of more than chance."),
        (-0.02, 0.05, "changed by −0.020, which is within chance."),
        (-0.02, None, "changed by −0.020."),  # one seed: nobody knows
        (-0.02, 0.0, "changed by −0.020, a fall of more than chance."),
        (0.0, 0.0, "changed by 0.000."),
    ],
)
def test_chance_is_named_only_where_it_is_known(mean: float, limit: float | None, says: str) -> None:
    found = headline.no_gain(comparison.Gain(images=(60, 120), mean=mean, limit=limit), "random", {})
    assert found is not None and found[0].endswith(says)
    assert "above 0.000" not in found[1]


def test_detectors_that_find_nothing_come_before_all_else() -> None:
    first, remark = headline.headline(*judged({"random": [0.0, 0.0], "mgral": [0.0, 0.0]}), 120, {})
    assert first == "No detector finds anything: test mAP at the last cycle is 0 for every strategy."
    assert remark.startswith("Train longer")


def test_strategies_with_the_same_mean_share_a_sentence() -> None:
    ends = {"random": [0.3, 0.301, 0.302], "adaptive": [0.34, 0.342, 0.341], "learnable": [0.34, 0.342, 0.341]}
    first, remark = headline.headline(*judged(ends), 60, {})
    assert (
        first == "adaptive and learnable are best: 0.341 test mAP with 60 labelled images, +0.040 compared with random."
    )
    assert "No difference from" not in remark
    even = headline.headline(*judged({"random": [0.3, 0.31], "mgral": [0.3, 0.31]}), 60, {})[0]
    assert even.endswith(
        "random, which itself has the highest mean, 0.305 test mAP with 60 labelled images; mgral has the same."
    )
    assert text.same([["a", "b", "c"]])[0].startswith("a, b and c picked the same images in every seed")


def test_a_worse_strategy_does_not_take_the_place_of_random_in_the_sentence() -> None:
    ends = {"random": [0.3, 0.301, 0.302], "bad": [0.2, 0.203, 0.201], "near": [0.299, 0.302, 0.301]}
    assert headline.headline(*judged(ends), 60, {})[0].startswith(
        "At the last cycle bad is detectably below random and none above. random itself has the highest mean, 0.301"
    )


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.0004, 0.008, "+0.0004 to +0.0080"),
        (-0.00004, 0.008, "−0.00004 to +0.00800"),
        (0.0, 0.008, "0.000 to +0.008"),
        (-1e-17, 0.008, "0.000 to +0.008"),
        (0.001, 0.008, "+0.001 to +0.008"),
    ],
)
def test_an_end_that_is_not_zero_does_not_look_like_zero(low: float, high: float, shown: str) -> None:
    assert text.interval(low, high, text.places(low, high)) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0, "< 0.001"), (0.0004, "< 0.001"), (0.031, "= 0.031"), (0.04996, "= 0.04996"), (0.05, "= 0.050"), (None, "–")],
)
def test_a_p_value_is_never_zero_and_never_looks_like_the_level(p: float | None, shown: str) -> None:
    assert text.p_value(p) == shown


def test_many_strategies_are_counted_and_all_are_not_only_some() -> None:
    def told(better: int, of: int) -> str:
        ends = {f"s{k}": [0.4 + 0.001 * k, 0.411 + 0.001 * k, 0.42 + 0.001 * k] for k in range(better)}
        level = {f"n{k}": [0.31, 0.29 - 0.002 * k, 0.32] for k in range(of - better)}
        _, compared = judged({"random": [0.3, 0.31, 0.32], **ends, **level})
        return headline.detected(compared.against("random", "mAP"))

    assert told(1, 1) == "s0 is detectably above random"
    assert told(2, 2) == "s0 and s1 are detectably above random"
    assert told(9, 9) == "all 9 strategies are detectably above random"
    assert told(2, 3) == "only s0 and s1 are detectably above random"
    assert told(9, 10) == "only 9 of 10 strategies are detectably above random"
