"""Inputs of rules, worked out by hand for params/tiny.yaml with a few changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.iocontainers import InputFiles, Wildcards

from mgral.config import loading
from mgral.planning.rule_files import RuleFiles, options_of, whose
from mgral.planning.run_plan import RunPlan

PARAMS = Path(__file__).resolve().parents[3] / "params"
RUN = "data/runs/tiny"
BAYES = {"representation": "growth", "surrogate": "bayes"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(**changes: Any) -> RuleFiles:
    """tiny.yaml: random, ll4al and mgral; seed 0; cycles 0 and 1; 4 unlabelled proxies, 2 controls, 1 repeat."""
    given = yaml.safe_load((PARAMS / "base.yaml").read_text())
    for override in (yaml.safe_load((PARAMS / "tiny.yaml").read_text()), changes):
        given = loading.merge(given, override)
    return RuleFiles(RunPlan(loading.check(given, "test")))


def job(**wildcards: str) -> Wildcards:
    return Wildcards(fromdict={"seed": "0", **wildcards})


def test_options_are_the_named_files_that_there_are() -> None:
    given = InputFiles(["unnamed"])
    given.update({"held_out": "a.npz"})
    assert options_of(given) == ["--held-out", "a.npz"]
    several: Any = InputFiles(["x", "y"])
    several._set_name("records", 0, end=2)
    several._set_name("carried", 2, end=2)
    assert options_of(several) == ["--records", "x", "y"]


def test_a_job_has_a_name_and_an_owner() -> None:
    found = files()
    assert found.log("noise") == f"{RUN}/logs/noise/all.log"
    assert found.log("train", found.part) == f"{RUN}/logs/train/{{part}}{{strategy}}-{{seed}}-{{cycle}}.log"
    assert found.log("train", found.retrained) == f"{RUN}/logs/train/{{repeat}}.log"
    assert found.log("pool", "shared-{seed}-0") == f"{RUN}/logs/pool/shared-{{seed}}-0.log"
    assert whose(job(strategy="mgral", cycle="1", part="second_round/")) == "mgral, seed 0, cycle 1, second round: "
    assert whose(job(label="random", cycle="0")) == "random, seed 0, cycle 0: "
    assert whose(job(strategy="mgral", cycle="1", split="-2")) == "mgral, seed 0, cycle 1, replay-2: "
    assert whose(job()) == "seed 0: "
    assert whose(Wildcards(fromdict={"repeat": "2"})) == "repetition 2: "
    assert whose(Wildcards(fromdict={})) == ""


def test_options_that_follow_from_a_job() -> None:
    found = files(search={"temperature": 2.0}, stopping={"shares": [0.25, 0.5], "repeats": 1})
    second = job(part="second_round/replay/")
    assert (found.kind(second), found.second_round(second), found.temperature(second)) == ("replay", True, 2.0)
    first = job(part="")
    assert (found.kind(first), found.second_round(first), found.temperature(first)) == ("unlabelled", False, None)
    assert found.share(job(number="1")) == 0.5
    assert found.polish(job(label="mgral")) == []  # no price


def test_a_file_of_each_cycle() -> None:
    found = files(seeds=[0, 3], strategies=["random", "mgral"])
    assert found.each("{strategy}/{seed}/{cycle}", cycles=[1]) == ["random/0/1", "random/3/1", "mgral/0/1", "mgral/3/1"]
    assert found.each(found.cycle.metrics, ["mgral"]) == [
        f"{RUN}/mgral/seed-{seed}/cycle-{cycle}/metrics.json" for seed in (0, 3) for cycle in (0, 1)
    ]


def test_inputs_by_name() -> None:
    found = files()
    named = found.named(found.own, "images", "pool", "image_scores")
    assert named == {
        "images": f"{RUN}/dataset/images.npy",
        "pool": f"{RUN}/{{label}}/seed-{{seed}}/cycle-{{cycle}}/pool.json",
        "image_scores": f"{RUN}/{{label}}/seed-{{seed}}/cycle-{{cycle}}/image_scores.npz",
    }
    assert found.named(found.own, "dataset")["dataset"](job(label="random", cycle="1")) == f"{RUN}/dataset/dataset.json"


def test_each_cycle_has_a_data_set_of_its_own_where_people_answer() -> None:
    found = files(oracle={"kind": "simulated"})
    assert found.dataset(job(strategy="shared", cycle="0")) == f"{RUN}/dataset/dataset.json"
    assert found.dataset(job(label="ll4al", cycle="1")) == f"{RUN}/ll4al/seed-0/cycle-1/dataset.json"
    assert found.dataset_before(job(strategy="ll4al", cycle="1")) == f"{RUN}/dataset/dataset.json"
    assert found.dataset(Wildcards(fromdict={"repeat": "0"})) == f"{RUN}/random/seed-0/cycle-1/dataset.json"
    assert found.before("pool.json")(job(strategy="ll4al", cycle="1")) == f"{RUN}/ll4al/seed-0/cycle-0/pool.json"
    assert found.simulated()["truth"] == f"{RUN}/dataset/dataset.json"
    assert found.simulated()["simulated"](job(strategy="ll4al", cycle="1")).endswith("cycle-0/batch/manifest.json")


def test_a_training_for_the_retraining_variance_has_a_seed_that_is_none_of_the_experiments() -> None:
    found = files(seeds=[4, 5])
    assert found.seed(job(seed="5")) == 5
    assert found.seed(Wildcards(fromdict={"number": "1"})) == 4  # part of a pool: the first
    noise = [found.seed(Wildcards(fromdict={"repeat": str(repeat)})) for repeat in (0, 1)]
    assert noise[1] == noise[0] + 1 and not set(noise) & {4, 5}


def test_each_replay_split_has_a_seed_and_files_of_its_own() -> None:
    designed = {"random": 4, "designed": 10}
    found = files(table=BAYES, proxy={"kind": "both", "records": 28, "splits": 3, "generators": designed})
    below = f"{RUN}/{{strategy}}/seed-{{seed}}/cycle-{{cycle}}"
    parts = ["replay/", "replay-2/", "second_round/replay-2/", "replay-3/"]
    seeds = [found.seed(job(seed="5", part=part)) for part in parts]
    assert seeds[0] == found.seed(job(seed="5", part="")) == found.seed(job(seed="5", split="")) == 5
    assert seeds[1] == seeds[2] == found.seed(job(seed="5", split="-2")) == found.seed_of(2)(job(seed="5"))
    assert len({*seeds, found.seed(job(seed="6", part="replay-2/"))}) == 4
    sampled = found.sampled(job(strategy="shared", cycle="0", part="replay-3/"))
    assert [sampled[name] for name in ("pool", "detections")] == [
        f"{below}/replay-3/{name}" for name in ("pool.json", "detections.npz")
    ]
    assert [found.trained(some, [])["pool"].removeprefix(below) for some in found._plan.proxies] == [
        "/pool.json",
        "/replay/pool.json",
        "/replay-2/pool.json",
        "/replay-3/pool.json",
    ]
    indexed = found.indexed(job(strategy="mgral", cycle="1", part=""))
    assert indexed["replay_detections"] == [f"{below}/replay{split}/detections.npz" for split in ("", "-2", "-3")]
    assert len(indexed["records"]) == 14 + 3 * 14 and len(indexed["repeats"]) == 1 + 3


def test_an_agent_draws_the_second_round() -> None:
    found = files(proxy={"kind": "replay", "records": 12, "generators": {"agent": 0.25}})
    below = "{strategy}/seed-{seed}/cycle-{cycle}"
    first = found.sampled(job(strategy="shared", cycle="0", part="replay/"))
    assert first["pool"] == f"{RUN}/{below}/replay/pool.json" and not {"agent", "first"} & set(first)
    second = found.sampled(job(strategy="shared", cycle="0", part="second_round/replay/"))
    assert second["pool"] == first["pool"]
    assert second["agent"] == f"{RUN}/{below}/second_round/agent.safetensors"
    assert second["first"] == f"{RUN}/{below}/replay/batches.json"


def test_proxies_read_what_they_start_from() -> None:
    def read(**proxy: Any) -> dict[str, Any]:
        given = files(proxy={"kind": "replay", **proxy})
        (some,) = given._plan.proxies
        return given.trained(some, ["replay/proxies/0.json"])

    below = f"{RUN}/{{strategy}}/seed-{{seed}}/cycle-{{cycle}}/replay"
    frozen = read(backbone="frozen", start="detector")
    assert frozen["detector"] == f"{below}/detector.safetensors"
    assert frozen["backbone_features"] == f"{below}/backbone_features.npy"
    assert frozen["rivals"] == [f"{below}/proxies/0.json"]
    scratch = read(start="scratch", backbone="learns")
    assert scratch["pool"] == f"{below}/pool.json" and not {"detector", "backbone_features"} & set(scratch)


def test_a_table_reads_more_where_it_compares_growth() -> None:
    wildcards = job(strategy="mgral", cycle="1", part="")
    plain = files(table={"carry": 1}).indexed(wildcards)
    assert [len(plain[name]) for name in ("records", "control", "repeats", "carried")] == [4, 2, 1, 2]
    assert "competence" not in plain
    proxy = {"kind": "replay", "start": "detector"}
    growth = files(table=BAYES, proxy=proxy).indexed(wildcards)
    assert {"dataset", "pool", "competence", "replay_pool", "replay_detections"} <= set(growth)
    scratch = files(table=BAYES, proxy={**proxy, "start": "scratch"}).indexed(wildcards)
    assert "replay_pool" in scratch and "replay_detections" not in scratch
    assert len(files(table=BAYES).table()) == len(files().table()) + 1  # the price


def test_a_strategy_reads_what_it_needs() -> None:
    found = files(table=BAYES, strategies=["random", "ll4al", "growth", "mgral"])
    assert found.evidence(job(label="random", cycle="0")) == {}
    assert set(found.evidence(job(label="ll4al", cycle="0"))) == {"image_scores"}
    growth = found.evidence(job(label="growth", cycle="0"))
    assert growth["competence"] == f"{RUN}/{{label}}/seed-{{seed}}/cycle-{{cycle}}/metrics.json"
    assert {"agent", "price"} <= set(found.evidence(job(label="mgral", cycle="0")))
    assert "price" not in files().evidence(job(label="mgral", cycle="0"))


def test_the_report_follows_the_batches_after_the_last_cycle() -> None:
    found = files(strategies=["random", "mgral"], noise={"repeats": 2})
    batches = found.next_batches()
    assert batches == [f"{RUN}/{label}/seed-0/cycle-1/selected.json" for label in ("random", "mgral")]
    shown = found.reported(["all"])
    assert not set(batches) & set(shown)
    assert set(batches) < set(found.reported(["next"]))
    assert {f"{RUN}/noise.json", f"{RUN}/comparison.json"} < set(shown)
    assert f"{RUN}/stopping.json" not in shown
    Path(batches[0]).parent.mkdir(parents=True)
    Path(batches[0]).touch()  # chosen before: the report shows all of them
    assert set(batches) < set(found.reported(["all"]))


def test_what_a_run_makes_in_its_cycles() -> None:
    own = {"name": "theirs", "plugin": "mi_aod", "options": {"report": "own"}}
    plain = [Path(path).relative_to(RUN).as_posix() for path in files(strategies=["random", own]).of_cycles()]
    assert plain == [
        *(f"{label}/seed-0/cycle-{cycle}/metrics.json" for label in ("random", "theirs") for cycle in (0, 1)),
        *(f"theirs/seed-0/cycle-{cycle}/own.json" for cycle in (0, 1)),
        *(f"{label}/seed-0/cycle-0/selected.json" for label in ("random", "theirs")),
    ]
    assert f"{RUN}/mgral/seed-0/cycle-0/prices.json" in files(table=BAYES).of_cycles()


def test_a_run_that_waits_asks_for_the_batch_of_its_people() -> None:
    own = loading.read([PARAMS / "base.yaml", PARAMS / "own.yaml"])
    found = RuleFiles(RunPlan(own))
    assert found.of_cycles()[-1] == "data/runs/own/adaptive/seed-0/cycle-0/batch/manifest.json"
    assert found.simulated() == {}
    assert set(found.next_batches()) < set(found.reported(["all"]))


def test_learnable_reads_what_the_detector_of_each_replay_split_found() -> None:
    folder = f"{RUN}/{{label}}/seed-{{seed}}/cycle-{{cycle}}"
    for splits, names in ((1, ["replay/"]), (3, ["replay/", "replay-2/", "replay-3/"])):
        found = files(strategies=["learnable"], proxy={"kind": "replay", "splits": splits}).evidence(
            job(label="learnable")
        )
        assert found["held_out"] == [f"{folder}/{name}detections.npz" for name in names]
