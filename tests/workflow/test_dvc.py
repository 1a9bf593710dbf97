"""DVC and Snakemake agree on what is done, in one checkout and in a clone."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkouts import TINY, Checkout

pytestmark = pytest.mark.slow

CLEAN = "Data and pipelines are up to date."


@pytest.fixture
def recorded(checkout: Checkout) -> Checkout:
    """A finished run that `make record` has taken into DVC."""
    environment_is_there(checkout)
    checkout.call("make", "record", f"PARAMS={TINY}")
    return checkout


def environment_is_there(checkout: Checkout) -> None:
    """Tell make that the environment is built: the commands are those of the environment that runs the tests."""
    folder = checkout.root / ".venv"
    folder.mkdir()
    for stamp in (".pinned", ".ready"):
        (folder / stamp).touch()


def test_after_record_there_is_nothing_to_do(recorded: Checkout):
    assert CLEAN in recorded.call("dvc", "status")
    made = recorded.files("benchmarks/**/*.tsv")
    text = recorded.call("dvc", "repro")
    assert "Running stage" not in text
    assert CLEAN in text
    assert recorded.files("benchmarks/**/*.tsv") == made
    assert recorded.plan() == {}
    state = recorded.call("git", "status", "--short", "--untracked-files=all")
    assert {line.split()[-1] for line in state.splitlines()} >= {"dvc.lock"}
    assert "data/runs" not in state
    assert ".snakemake" not in state


def test_record_refuses_results_of_other_parameters(recorded: Checkout):
    """Edited after the run, or while it ran: dvc.lock must not say that the new value was used."""
    lock = (recorded.root / "dvc.lock").read_bytes()
    recorded.edit(TINY, "iterations: 8", "iterations: 12")
    text = recorded.call("make", "record", f"PARAMS={TINY}", fails=True)
    assert f"first run 'snakemake --cores all --configfile {TINY}'" in text
    assert (recorded.root / "dvc.lock").read_bytes() == lock


def test_a_clone_knows_as_much(recorded: Checkout, tmp_path: Path):
    """In a clone nothing is to be done, and an edited parameter concerns what it concerned at home."""
    recorded.call("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    recorded.call("dvc", "push", "--quiet")
    recorded.git_commit()
    recorded.call("git", "clone", "--quiet", str(recorded.root), str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone")
    clone.call("dvc", "pull", "--quiet")
    assert clone.plan() == {}
    assert CLEAN in clone.call("dvc", "status")

    clone.edit(TINY, "iterations: 8", "iterations: 12")
    text = clone.call("dvc", "repro")
    for stage in ("shared@0", "cycle@mgral-0-0", "results"):
        assert f"Running stage '{stage}'" in text
    before, after = recorded.files("benchmarks/**/*.tsv"), clone.files("benchmarks/**/*.tsv")
    again = {path.removeprefix("benchmarks/") for path in after if after[path] != before[path]}
    assert {"search/shared-0-0.tsv", "train/mgral-0-1.tsv"} <= again
    assert not {"train/shared-0-0.tsv", "train/random-0-1.tsv", "retrain/0.tsv", "proxy/shared-0-0-0.tsv"} & again
    assert len(clone.files("shared/seed-0/cycle-0/search.csv").popitem()[1].splitlines()) == 1 + 12
    assert CLEAN in clone.call("dvc", "status")
    assert clone.plan() == {}
