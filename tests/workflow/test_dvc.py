"""DVC and Snakemake agree on what is done, in one checkout and in a clone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkouts import TINY, Checkout

pytestmark = pytest.mark.slow

CLEAN = "Data and pipelines are up to date."


def test_after_record_there_is_nothing_to_do(recorded: Checkout):
    assert CLEAN in recorded.call("dvc", "status")
    made = recorded.files("logs/**/*.log")
    text = recorded.call("dvc", "repro")
    assert "Running stage" not in text
    assert CLEAN in text
    assert recorded.files("logs/**/*.log") == made
    assert recorded.plan() == {}
    in_git = recorded.call("git", "ls-files").splitlines()
    assert "dvc.lock" in in_git
    assert not [name for name in in_git if name.startswith(".snakemake/") and not name.endswith(".gitignore")]
    assert not [name for name in in_git if name.startswith("data/runs/") and not name.endswith(".gitignore")]


def test_record_refuses_results_of_other_parameters(recorded: Checkout):
    """Edited after the run, or while it ran: dvc.lock must not say that the new value was used."""
    lock = (recorded.root / "dvc.lock").read_bytes()
    recorded.edit(TINY, "iterations: 8", "iterations: 12")
    text = recorded.call("make", "record", f"PARAMS={TINY}", fails=True)
    assert f"first run: snakemake --cores all --configfile '{TINY}'" in text
    assert (recorded.root / "dvc.lock").read_bytes() == lock


def test_a_clone_knows_as_much(recorded: Checkout, tmp_path: Path):
    """In a clone nothing is to be done, and an experiment that sets parameters runs what they concern at home.

    DVC asks for it, Snakemake does it: another size of the proxies' jobs trains no proxy again.
    """
    clone = clone_by_way_of(str(tmp_path / "store"), recorded, tmp_path / "clone")
    has_nothing_to_do(clone)

    changes = [f"--set-param={TINY}:{change}" for change in ("search.iterations=12", "proxy.per_job=4")]
    text = clone.call("dvc", "exp", "run", "--name", "longer-search", *changes)
    for stage in ("shared@0", "cycle@mgral-0-0", "results"):
        assert f"Running stage '{stage}'" in text
    assert "Ran experiment(s): longer-search" in text
    assert "longer-search" in clone.call("dvc", "exp", "list")
    assert {"  iterations: 12", "  per_job: 4"} <= set((clone.root / TINY).read_text().splitlines())
    before, after = recorded.files("logs/**/*.log"), clone.files("logs/**/*.log")
    again = {path.removeprefix("logs/") for path in after if after[path] != before.get(path)}
    assert {"search/shared-0-0.log", "train/mgral-0-1.log"} <= again
    trained = {path for path in again if path.startswith(("train/", "proxy/", "retrain/"))}
    assert trained == {"train/mgral-0-1.log"}
    assert len(clone.files("shared/seed-0/cycle-0/search.csv").popitem()[1].splitlines()) == 1 + 12
    has_nothing_to_do(clone)


def test_batches_come_back_from_s3(recorded: Checkout, tmp_path: Path, s3: str):
    """The store is a server on loopback that speaks S3's protocol. What a clone then has to do, the test above says."""
    stages = [f"cycle@{strategy}-0-0" for strategy in ("random", "ll4al", "mgral")]
    clone = clone_by_way_of("s3://runs/store", recorded, tmp_path / "clone", stages, endpointurl=s3)
    found = clone.files("*/seed-0/cycle-0/*")
    assert len([name for name in found if name.endswith("selected.json")]) == len(stages)
    kept = recorded.files("*/seed-0/cycle-0/*")
    assert found == {name: kept[name] for name in found}


def test_metrics_plots_and_params_say_something(recorded: Checkout):
    metrics = printed_json(recorded, "dvc", "metrics", "show", "--json")[""]["data"]
    run = "data/runs/tiny"
    assert set(metrics) == {f"{run}/summary.json", f"{run}/noise.json"}
    summary = metrics[f"{run}/summary.json"]["data"]
    last = recorded.files("curve.csv")["curve.csv"].decode().splitlines()[-1].split(",")
    assert last[:3] == ["mgral", "0", "1"]  # one seed, so the mean over seeds is its value
    assert summary["mgral"]["mAP"] == pytest.approx(float(last[5]), abs=1e-6)  # the curve has six decimals
    assert set(summary) == {"random", "ll4al", "mgral"}

    shown = printed_json(recorded, "dvc", "plots", "show", "--json")
    assert not shown.get("errors")
    plots = {name: found[0] for name, found in shown["data"].items()}
    assert set(plots) == {
        *("curve", "mgral-search", "mgral-table"),
        *(f"{run}/figures/{name}.png" for name in ("per_class", "timings")),
    }
    rows = {name: plots[name]["content"]["data"]["values"] for name in ("curve", "mgral-search", "mgral-table")}
    # tiny.yaml: three strategies of one seed and two cycles; one search of 8 iterations; a table of 4 records
    assert [(row["strategy"], row["images"]) for row in rows["curve"]] == [
        (strategy, images) for strategy in ("random", "ll4al", "mgral") for images in ("12", "16")
    ]
    assert [row["iteration"] for row in rows["mgral-search"]] == [str(k) for k in range(8)]
    assert len([row for row in rows["mgral-table"] if "trained" in row]) == 4
    assert "<DVC_METRIC" not in json.dumps(shown)

    recorded.edit(TINY, "iterations: 8", "iterations: 12")
    changed = printed_json(recorded, "dvc", "params", "diff", "--json")
    assert changed == {TINY: {"search.iterations": {"old": 8, "new": 12, "diff": 4}}}
    assert "cycle@mgral-0-1" in recorded.call("dvc", "dag", "--mermaid")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of an S3 server on loopback, with an empty bucket ``runs``."""
    server = pytest.importorskip("moto.server", reason="needs the extras dev and s3: `make environment`")
    pytest.importorskip("dvc_s3", reason="needs the extra s3: `make environment`")
    import boto3

    (tmp_path / "aws").touch()  # in place of the user's own settings
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "aws"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    serving = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    serving.start()
    try:
        address = "http://{}:{}".format(*serving.get_host_and_port())
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="runs")
        yield address
    finally:
        serving.stop()


def clone_by_way_of(url: str, origin: Checkout, to: Path, stages: Sequence[str] = (), **options: str) -> Checkout:
    """Push to a DVC remote, clone with git, and pull there: everything, or the results of some stages."""
    origin.call("dvc", "remote", "add", "--default", "store", url)
    for key, value in options.items():
        origin.call("dvc", "remote", "modify", "store", key, value)
    origin.call("dvc", "push", "--quiet", *stages)
    origin.git_commit()
    origin.call("git", "clone", "--quiet", str(origin.root), str(to))
    clone = replace(origin, root=to)
    clone.call("dvc", "pull", "--quiet", *stages)
    return clone


def has_nothing_to_do(checkout: Checkout) -> None:
    assert checkout.plan() == {}
    assert CLEAN in checkout.call("dvc", "status")


def printed_json(checkout: Checkout, *command: str) -> Any:
    """The JSON that a command printed, whatever follows it."""
    return json.JSONDecoder().raw_decode(checkout.call(*command).lstrip())[0]
