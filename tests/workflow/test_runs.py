"""Whole runs: nothing is done twice, nothing that is needed is left undone, and the bytes do not depend on luck."""

from __future__ import annotations

import base64
import json
import platform
import re
import time
from pathlib import Path

import pytest
from checkouts import TINY, Checkout

pytestmark = pytest.mark.slow

AFTER_THE_SEARCH = {
    "search": 1,
    "share_agent": 1,
    "select": 1,
    "annotate": 1,
    "train": 1,
    "curve": 1,
    "comparison": 1,
    "report": 1,
    "all": 1,
}


def test_a_finished_run_has_its_results(finished: Checkout):
    curve = finished.files("curve.csv")["curve.csv"].decode().splitlines()
    assert curve[0] == "strategy,seed,cycle,images,boxes,mAP,AP50"
    # tiny.yaml: 12 images, then 4 more
    assert [line.split(",")[:4] for line in curve[1:]] == [
        ["random", "0", "0", "12"],
        ["random", "0", "1", "16"],
        ["ll4al", "0", "0", "12"],
        ["ll4al", "0", "1", "16"],
        ["mgral", "0", "0", "12"],
        ["mgral", "0", "1", "16"],
    ]
    compared = json.loads(finished.files("comparison.json")["comparison.json"])
    assert [curve["strategy"] for curve in compared["curves"]] == ["random", "ll4al", "mgral"]
    assert {one["verdict"] for one in compared["differences"]} == {"unknown"}  # of one seed
    page = finished.files("report.html")["report.html"].decode()
    assert "command: snakemake --cores all --configfile" in page  # the line that repeats the run
    assert re.search(r"made \d{4}-\d\d-\d\d", page)
    assert "figures/curve.png" in finished.files("figures/*")


def test_the_folder_of_a_cycle_shows_what_was_made_when_and_where(finished: Checkout):
    text = finished.call("mgral", "show", str(finished.run_folder / "mgral/seed-0/cycle-0"))
    for part in (
        "cycle 0: 12 labelled, 28 unlabelled images",  # tiny.yaml: train 40, initial 12
        "4 batches: 1 random, 1 uncertain, 1 cluster, 1 class",
        "8 iterations, reward",
        "mgral, seed 0, cycle 0: 4 images",
    ):
        assert part in text
    jobs = [line.split() for line in text.split("jobs:")[1].splitlines()[1:]]
    # what all strategies share, then its own, copies aside; of proxies 4 for the table and 3 for its audit, two a job
    assert [job[:2] for job in jobs] == [
        *(["pool", "shared-0-0"], ["train", "shared-0-0"], ["embed", "shared-0-0"], ["sample_batches", "shared-0-0"]),
        *(["proxy", f"shared-0-0-{position}"] for position in (0, 2, 4, 6)),
        *(["table", "shared-0-0"], ["search", "shared-0-0"], ["select", "mgral-0-0"]),
    ]
    assert all(platform.node() + "," in job for job in jobs)


def test_snakemake_reports_with_the_figures(finished: Checkout, tmp_path: Path):
    finished.snakemake("--report", str(tmp_path / "snakemake.html"))
    page = (tmp_path / "snakemake.html").read_bytes()
    figures = finished.files("figures/*.png")
    assert "figures/curve.png" in figures
    for content in [*figures.values(), finished.files("report.html")["report.html"]]:
        assert base64.b64encode(content) in page
    assert b"The experiment is <strong>tiny</strong>" in page


def test_a_second_run_does_nothing(finished: Checkout):
    assert "Nothing to be done" in finished.snakemake()


def test_a_search_parameter_reruns_the_search_and_what_follows(checkout: Checkout):
    """The one detector that is trained again is that of mgral's cycle 1; test_dvc.py runs this for real."""
    checkout.edit(TINY, "iterations: 8", "iterations: 12")
    assert checkout.plan() == AFTER_THE_SEARCH
    text = checkout.snakemake("--dry-run")
    trained = re.findall(r"^Job \d+: (.*): train and evaluate a detector$", text, re.MULTILINE)
    assert trained == ["mgral, seed 0, cycle 1"]


def test_what_was_deleted_is_made_again(checkout: Checkout):
    (checkout.run_folder / "random/seed-0/cycle-1/metrics.json").unlink()
    jobs = checkout.plan()
    assert jobs["train"] == 1
    assert "search" not in jobs


def test_a_deleted_result_is_made_again_and_nothing_else(checkout: Checkout):
    """Of which Snakemake knows newer files that follow from it."""
    before = checkout.files("*.json")
    assert {"comparison.json", "noise.json", "summary.json"} == set(before)
    trained = checkout.files("logs/train/*")
    for name in before:
        (checkout.run_folder / name).unlink()
    checkout.snakemake()
    assert checkout.files("*.json") == before
    assert checkout.files("logs/train/*") == trained
    assert checkout.plan() == {}


def test_parameters_edited_during_a_run_concern_the_next(checkout: Checkout):
    """A job that waits is given what was recorded for it, and the next run sees the difference."""
    checkout.edit(TINY, "iterations: 8", "iterations: 12")
    log = checkout.run_folder / "logs/search/shared-0-0.log"
    log.unlink()
    run = checkout.start()
    while not log.exists():
        assert run.poll() is None
        time.sleep(0.02)
    checkout.edit(TINY, "iterations: 12", "iterations: 16")
    checkout.edit(TINY, "batch: 4\n", "batch: 5\n")
    assert run.wait() == 0
    assert len(checkout.files("shared/seed-0/cycle-0/search.csv").popitem()[1].splitlines()) == 1 + 12
    assert len(json.loads(checkout.files("mgral/seed-0/cycle-0/selected.json").popitem()[1])["picks"]) == 4
    checkout.edit(TINY, "batch: 5\n", "batch: 4\n")
    assert checkout.plan() == AFTER_THE_SEARCH


@pytest.mark.parametrize(
    ("old", "new", "runs", "rests"),
    [
        (
            "batch: 4\n",
            "batch: 5\n",
            {"sample_batches", "proxy", "search", "select", "annotate"},
            {"pool", "embed", "cache"},
        ),
        ("per_job: 2", "per_job: 4", set(), {"proxy", "search", "train"}),
        ("neighbours: 2", "neighbours: 3", {"table", "search", "select"}, {"proxy", "sample_batches", "embed"}),
        ("records: 4\n  steps: 3", "records: 4\n  steps: 4", {"proxy", "table", "search"}, {"sample_batches", "embed"}),
        ("seeds: [0]", "seeds: [0, 1]", {"pool", "train", "search", "select"}, {"generate", "import_data", "cache"}),
    ],
)
def test_a_parameter_concerns_what_reads_it(checkout: Checkout, old, new, runs, rests):
    checkout.edit(TINY, old, new)
    jobs = checkout.plan()
    assert runs <= set(jobs)
    assert not rests & set(jobs)


def test_code_concerns_the_steps_that_use_it(checkout: Checkout):
    search = "src/mgral/agent/reinforce.py"
    with (checkout.root / search).open("a") as file:
        file.write("\n# A remark.\n")
    assert checkout.plan() == {}
    with (checkout.root / search).open("a") as file:
        file.write("\nMORE = 1\n")
    assert checkout.plan() == AFTER_THE_SEARCH


def test_the_code_of_an_assessment_concerns_its_strategy_alone(checkout: Checkout):
    """ll4al selects again, and the one detector that is trained again is that of its next cycle."""
    with (checkout.root / "src/mgral/strategies/ll4al/training.py").open("a") as file:
        file.write("\nMORE = 1\n")
    after_it = {"select": 1, "annotate": 1, "train": 1, "curve": 1, "comparison": 1, "report": 1, "all": 1}
    assert checkout.plan() == {"score": 1, **after_it}
    text = checkout.snakemake("--dry-run")
    found = re.findall(r"^Job \d+: (.*: (?:score the .* network|train and .*))$", text, re.MULTILINE)
    assert found == [
        "ll4al, seed 0, cycle 0: score the unlabelled images by a strategy's own network",
        "ll4al, seed 0, cycle 1: train and evaluate a detector",
    ]


def results(checkout: Checkout) -> dict[str, bytes]:
    """The files of all cycles; of a record, all but the time that its proxy took.

    Hidden files and checkpoints are what an interrupted step resumes from or overwrites.
    """
    found = {}
    for path, content in checkout.files("*/seed-*/**/*").items():
        name = path.rsplit("/", 1)[-1]
        if name.startswith(".") or name.endswith((".ckpt", ".part")):
            continue
        if name == "added.json" or {"proxies", "control", "repeats"} & set(path.split("/")):
            content = json.dumps(without_times(json.loads(content))).encode()
        if not name.endswith((".parquet", ".faiss")):
            found[path] = content
    return found


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key != "seconds"}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value
