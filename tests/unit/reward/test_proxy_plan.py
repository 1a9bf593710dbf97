"""Which proxies share a job, worked out by hand for the demo's parameters with a few changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mgral.config.schema import Proxy
from mgral.core.errors import MgralError
from mgral.reward import proxy_plan

BASE = Path(__file__).parents[3] / "params" / "base.yaml"


def params(**changes: Any) -> Proxy:
    """Five records of a kind, 0.4 of them random: 0, 1. Two repeats, and of unlabelled ones two controls."""
    given = {"records": 5, "control": 2, "repeats": 2, "per_job": 3, **changes}
    return Proxy.parse({**yaml.safe_load(BASE.read_text())["proxy"], **given}, "proxy")


def jobs(given: Proxy) -> list[tuple[str, int, str, str]]:
    return [
        (some.rule, position, " ".join(names), " ".join(rivals))
        for some in proxy_plan.proxies(given)
        for position, names, rivals in some.jobs(given)
    ]


def test_a_job_takes_some_after_the_other() -> None:
    assert jobs(params(kind="unlabelled")) == [
        ("proxy", 0, "proxies/0 proxies/1 proxies/2", ""),
        ("proxy", 3, "proxies/3 proxies/4 control/0", ""),
        ("proxy", 6, "control/1 repeats/1 repeats/2", ""),
    ]
    assert jobs(params(kind="replay", per_job=8)) == [
        ("proxy_replay", 0, "proxies/0 proxies/1 proxies/2 proxies/3 proxies/4 repeats/1 repeats/2", "")
    ]


def test_what_may_be_stopped_comes_after_what_it_races_against() -> None:
    assert jobs(params(kind="unlabelled", stop_at=0.5)) == [
        ("proxy", 0, "proxies/0 proxies/1 control/0", ""),
        ("proxy", 3, "control/1 repeats/1 repeats/2", ""),
        ("proxy", 6, "proxies/2 proxies/3 proxies/4", "proxies/0.json proxies/1.json"),
    ]


def test_an_agents_batches_race_against_random_ones_of_the_first_round() -> None:
    # Of 14, 4 unlabelled: 1 by the agent (0.25 / 1.25 of them), of the other 3 one is random. Of 10 replay ones the
    # agent has 2 (of 2.5), and of the other 8 random batches are 3 (0.4 of them, 3.2).
    shares = {"random": 0.4, "uncertain": 0.2, "cluster": 0.2, "class": 0.2, "agent": 0.25}
    both = params(kind="both", records=14, replay_share=0.7, generators=shares, stop_at=0.5, per_job=9)
    random = "replay/proxies/0.json replay/proxies/1.json replay/proxies/2.json"
    assert jobs(both) == [
        ("proxy", 0, "proxies/0 control/0 control/1 repeats/1 repeats/2", ""),
        ("proxy", 5, "proxies/1 proxies/2", "proxies/0.json"),
        ("proxy_second_round", 0, "proxies/0", "proxies/0.json"),
        ("proxy_replay", 0, "proxies/0 proxies/1 proxies/2 repeats/1 repeats/2", ""),
        ("proxy_replay", 5, "proxies/3 proxies/4 proxies/5 proxies/6 proxies/7", random),
        ("proxy_second_round_replay", 0, "proxies/0 proxies/1", random),
    ]


def test_each_replay_split_has_all_replay_records() -> None:
    # Of 5 the agent has one (0.25 / 1.25 of them), of the other 4 two are random (1.6 and 2.4, by largest remainder).
    shares = {"random": 0.4, "uncertain": 0.6, "agent": 0.25}
    two = params(
        kind="replay",
        generators={**dict.fromkeys(("designed", "cluster", "class"), 0), **shares},
        stop_at=0.5,
        per_job=9,
        splits=2,
    )
    random = "replay/proxies/0.json replay/proxies/1.json"
    first = [
        ("proxy_replay", 0, "proxies/0 proxies/1 repeats/1 repeats/2", ""),
        ("proxy_replay", 4, "proxies/2 proxies/3", random),
        ("proxy_second_round_replay", 0, "proxies/0", random),
    ]
    second = [
        (f"{rule}_2", position, names, rivals.replace("replay/", "replay-2/"))
        for rule, position, names, rivals in first
    ]
    assert jobs(two) == [*first, *second]
    assert [some.split for some in proxy_plan.proxies(two)] == [1, 1, 2, 2]


def test_unlabelled_records_have_no_splits() -> None:
    with pytest.raises(MgralError, match=r"proxy: splits: kind unlabelled holds no images out; set splits: 1"):
        params(kind="unlabelled", splits=2)


def test_a_job_is_told_the_numbers_of_its_batches_and_repetitions_by_kind() -> None:
    paths = [
        "a/replay/proxies/3.json",
        "a/replay/control/0.json",
        "a/replay/proxies/11.json",
        "a/replay/repeats/1.json",
    ]
    assert proxy_plan.options(paths) == ["--batch", "3", "11", "--control", "0", "--repeat", "1"]
    assert proxy_plan.options(["a/repeats/2.json"]) == ["--repeat", "2"]
    assert proxy_plan.options([]) == []
    assert proxy_plan.options(["a/second_round/replay-3/proxies/2.json"]) == ["--batch", "2", "--split", "3"]
