"""What the rules ask about an experiment, worked out by hand for params/tiny.yaml with a few changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mgral.config import loading
from mgral.planning import run_plan
from mgral.planning.run_plan import RunPlan

PARAMS = Path(__file__).resolve().parents[3] / "params"


def plan(**changes: Any) -> RunPlan:
    """tiny.yaml: random, ll4al and mgral; seed 0; cycles 0 and 1; 4 unlabelled proxies, 2 controls, 1 repeat."""
    given = yaml.safe_load((PARAMS / "base.yaml").read_text())
    for override in (yaml.safe_load((PARAMS / "tiny.yaml").read_text()), changes):
        given = loading.merge(given, override)
    return RunPlan(loading.check(given, "test"))


def test_strategies_by_what_they_need() -> None:
    found = plan(strategies=["oracle_rare", "entropy", "mgral", "ll4al", {"name": "mine", "plugin": "mi_aod"}])
    assert found.searchers == ["mgral"]
    assert found.baselines == ["entropy", "ll4al", "mine"]  # oracle_rare reads the truth
    assert found.needs["entropy"] == {"detections"}
    assert found.plugin_modules()[:4] == [
        "mgral.data.formats.synthetic",
        "mgral.detection.detectors.tiny_ssd",
        "mgral.reward.semi.isd",
        "mgral.strategies.oracle_rare",
    ]
    assert found.plugin_modules()[-1] == "mgral.strategies.mi_aod"  # the plug-in, not the label


def test_the_last_cycle_selects_nothing() -> None:
    assert (list(plan(cycles=3).cycles), list(plan(cycles=3).selecting)) == ([0, 1, 2], [0, 1])
    assert list(plan(cycles=1).selecting) == []
    assert plan(cycles=1).searched_folders() == {}


def test_a_generated_data_set_lies_where_the_workflow_puts_it() -> None:
    made = plan()
    assert made.parameters()["dataset"]["root"] == made.raw == "data/raw/tiny"
    images = made.generated_images()
    assert len(images) == 40 + 12 + 12
    assert all(name.startswith("data/raw/tiny/images/") for name in images)
    given = plan().parameters()
    own = RunPlan(
        loading.check(given | {"dataset": {**given["dataset"], "format": "voc", "root": "mine", "options": {}}}, "")
    )
    assert own.parameters()["dataset"]["root"] == "mine"
    assert own.generated_images() == []


def test_the_table_of_a_part_indexes_records_of_its_kind_and_round() -> None:
    both = plan(proxy={"kind": "both", "records": 24, "generators": {"agent": 0.25}})
    first = both.records_of_table("second_round/")  # the table that the second round's agent is trained on
    assert first["proxies"] and not any("second_round" in name for name in first["proxies"])
    assert first["control"] == first["repeats"] == []
    last = both.records_of_table("")
    assert set(first["proxies"]) < set(last["proxies"])
    assert any(name.startswith("second_round/replay/proxies/") for name in last["proxies"])
    assert last["control"] == ["control/0.json", "control/1.json"]
    one_round = plan()
    assert one_round.records_of_table("") == {
        "proxies": [f"proxies/{number}.json" for number in range(4)],
        "control": ["control/0.json", "control/1.json"],
        "repeats": ["repeats/1.json"],
    }


def test_designed_batches_of_replay_are_sampled_by_its_own_detector() -> None:
    designed = {"random": 0.5, "designed": 0.5}
    assert plan(proxy={"kind": "replay", "generators": designed}).sampled_by("replay/") == "replay/"
    assert plan(proxy={"kind": "replay", "generators": designed}).sampled_by("") == ""
    assert plan(proxy={"kind": "replay"}).sampled_by("replay/") == ""
    two = plan(proxy={"kind": "replay", "generators": designed, "splits": 2})
    assert [two.sampled_by(part) for part in ("replay/", "replay-2/", "second_round/replay-2/")] == [
        "replay/",
        "replay-2/",
        "",
    ]
    scratch = {"kind": "replay", "generators": designed, "start": "scratch"}
    assert plan(proxy=scratch).sampled_by("replay/") == ""  # replay has no detector


def test_what_is_shared_in_cycle_0() -> None:
    shared = plan().shared()
    assert shared["detector"] == ["pool.json", "detector.safetensors", "metrics.json", "train.csv"]
    assert [name for name in shared["agent"] if name.startswith(("proxies", "control", "repeats", "batches"))] == [
        "batches.json",
        *(f"proxies/{number}.json" for number in range(4)),
        *("control/0.json", "control/1.json", "repeats/1.json"),
    ]
    assert not any(name.startswith("replay/") for name in shared["agent"])
    replay = plan(proxy={"kind": "replay"}).shared()["agent"]
    assert {"replay/pool.json", "replay/detector.safetensors"} < set(replay)
    assert not any(name.startswith("replay-2/") for name in replay)
    two = plan(proxy={"kind": "replay", "splits": 2}).shared()["agent"]
    assert {"replay/pool.json", "replay-2/pool.json", "replay-2/detector.safetensors", "replay-2/proxies/3.json"} < {
        *two
    }
    scratch = plan(proxy={"kind": "replay", "start": "scratch"}).shared()["agent"]
    assert "replay/pool.json" in scratch and "replay/detector.safetensors" not in scratch


@pytest.mark.parametrize(
    ("strategies", "targets"),
    [
        (["random", "mgral"], ["agent.safetensors"]),
        (["random", "entropy"], ["metrics.json", "embeddings.npz"]),
        (["random"], ["metrics.json"]),
    ],
)
def test_the_last_files_of_what_is_shared(strategies: list[str], targets: list[str]) -> None:
    assert plan(strategies=strategies).shared_targets() == targets
    assert plan(strategies=strategies, cycles=1).shared_targets() == ["metrics.json"]


def test_learnable_looks_at_all_replay_splits() -> None:
    proxy = {"kind": "replay", "splits": 2}
    one, two = plan(strategies=["learnable"]), plan(strategies=["learnable"], proxy=proxy)
    ends = ["metrics.json", "embeddings.npz", "replay/detections.npz"]
    assert (one.shared_targets(), two.shared_targets()) == (ends, [*ends, "replay-2/detections.npz"])
    assert set(two.shared()["held_out"]) - set(one.shared()["held_out"]) == {
        "replay-2/embeddings.npz",
        "replay-2/detections.npz",
        "replay-2/hint.json",
    }


def test_a_table_carries_at_most_the_cycles_that_there_are() -> None:
    found = plan(cycles=4, table={"carry": 2})
    assert found.carried("mgral", 0, 0) == []
    assert [path for path in found.carried("mgral", 0, 3) if path.endswith("added.json")] == [
        "data/runs/tiny/mgral/seed-0/cycle-1/added.json",
        "data/runs/tiny/mgral/seed-0/cycle-2/added.json",
    ]
    assert plan(cycles=4).carried("mgral", 0, 3) == []


def test_dvc_tracks_every_cycle_after_what_it_follows() -> None:
    tracked = {one["name"]: one for one in plan(seeds=[0, 1]).tracked_cycles()}
    assert list(tracked) == [
        f"{label}-{seed}-{c}" for label in ("random", "ll4al", "mgral") for seed in (0, 1) for c in (0, 1)
    ]
    assert tracked["random-1-0"] == {
        "name": "random-1-0",
        "folder": "data/runs/tiny/random/seed-1/cycle-0",
        "files": ["metrics.json", "selected.json"],
        "after": "data/runs/tiny/shared/seed-1/cycle-0",
        "said": None,  # the data set answers, not people
    }
    assert tracked["random-1-1"]["after"] == "data/runs/tiny/random/seed-1/cycle-0/selected.json"
    assert tracked["random-1-1"]["files"] == ["metrics.json"]
    carried = {one["name"]: one for one in plan(table={"carry": 1}).tracked_cycles()}
    assert carried["mgral-0-1"]["after"] == "data/runs/tiny/mgral/seed-0/cycle-0"  # the whole folder: its table too
    assert carried["random-0-1"]["after"].endswith("selected.json")


def test_the_results_that_there_are() -> None:
    assert "noise.json" in plan().result_files() and "noise.json" in plan().metrics()
    without = plan(noise={"repeats": 0})
    assert without.result_files() == ["curve.csv", "summary.json", "comparison.json", "report.html"]
    assert without.metrics() == ["summary.json"]
    assert not {"noise", "noise.json"} & set(without.results())


def test_options_of_an_agents_batch() -> None:
    search = {"polish": 3, "caution": 0.5, "certainty": 0.9}
    priced = plan(search=search, table={"representation": "growth", "surrogate": "bayes"})
    assert priced.polish("mgral") == ["--polish", 3, "--caution", 0.5, "--certainty", 0.9]
    assert priced.polish("random") == plan().polish("mgral") == []  # no agent, and no price


def test_the_command_that_makes_the_run() -> None:
    assert plan().command([]) == "snakemake --cores all"
    assert plan().command(["params/my own.yaml"]) == "snakemake --cores all --configfile 'params/my own.yaml'"


def test_the_weights_of_a_backbone_are_read_where_it_embeds() -> None:
    weights = {"kind": "backbone", "backbone": "resnet18", "weights": "mine.pth"}
    assert plan(embedding={**weights, "weights": "random"}).weights_of_backbone == []
    assert plan(embedding=weights).weights_of_backbone == ["mine.pth"]
    assert plan(embedding={**weights, "kind": "detector"}).weights_of_backbone == []


def test_the_part_that_holds_the_detector_of_proxies() -> None:
    homes = {some.rule: run_plan.home(some) for some in plan(proxy={"kind": "both", "records": 12}).proxies}
    assert homes == {"proxy": "", "proxy_replay": "replay/"}


def test_a_pattern_for_labels() -> None:
    pattern = run_plan.one_of(["a.b", "c"])
    assert [bool(re.fullmatch(pattern, label)) for label in ("a.b", "c", "axb", "")] == [True, True, False, False]
    assert re.search(run_plan.one_of([]), "anything") is None
