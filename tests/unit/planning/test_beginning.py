"""How Snakemake may be called."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from mgral.config import loading
from mgral.core.errors import MgralError
from mgral.data.pool import Pool, write_pool
from mgral.planning import beginning, sufficiency, waiting
from mgral.planning.run_plan import RunPlan


def test_parameters_are_set_in_files() -> None:
    with pytest.raises(MgralError, match=r"--config cycles, seeds: parameters are set in files only, .* --configfile"):
        beginning.refuse({"cycles": 4, "seeds": [1]}, conda=False)
    beginning.refuse({}, conda=False)


def test_conda_must_be_there_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MgralError, match="--use-conda: conda is not on PATH; install it"):
        beginning.refuse({}, conda=True)
    (tmp_path / "conda").write_text("#!/bin/sh\n")
    (tmp_path / "conda").chmod(0o755)
    beginning.refuse({}, conda=True)


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # no such user here
    beginning.name_user()
    assert getpass.getuser() == "uid-54321"
    monkeypatch.setenv("LOGNAME", "ada")
    beginning.name_user()
    assert getpass.getuser() == "ada"


def test_overrides_are_named_as_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(tmp_path / "params/base.yaml"), str(tmp_path / "params/tiny.yaml"), "../own.yaml"]
    assert beginning.overrides("params/base.yaml", files) == ["params/tiny.yaml", "../own.yaml"]


def test_more_cycles_than_a_generated_pool_allows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo of 240 images; of a user's data set, which may have grown, it is a warning."""
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).resolve().parents[3]
    base: Any = yaml.safe_load((root / "params/base.yaml").read_text())
    pool = Pool(0, dict.fromkeys(range(1, 61), 0), tuple(range(61, 241)))
    write_pool(pool, RunPlan(loading.check(base, "test")).shared_folder(base["seeds"][0]) + "/pool.json")
    for cycles, refused in ((10, False), (11, True)):
        plan = RunPlan(loading.check(base | {"cycles": cycles}, "test"))
        if refused:
            with pytest.raises(
                MgralError, match=r"pool\.json: budget\.initial 60 and 10 batches of 20 need 260 images"
            ):
                sufficiency.line(plan)
        else:
            assert sufficiency.line(plan) is None
    grown = loading.merge(base, {"cycles": 11, "dataset": {"options": {"train": 300}}})
    found = sufficiency.line(RunPlan(loading.check(grown, "test")))
    assert found is not None and found.startswith("warning: ") and "need 260 images, but train has 240" in found


def test_notices_are_the_lines_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "line", lambda plan, params: f"waiting, {params[0]}")
    monkeypatch.setattr(sufficiency, "line", lambda plan: None)
    plan: Any = object()
    assert beginning.notices(plan, ["a.yaml"]) == ["waiting, a.yaml"]


@pytest.mark.parametrize(
    ("speaks", "stage", "said"), [(True, None, 1), (True, "results", 1), (True, "mgral-0-1", 0), (False, None, 0)]
)
def test_one_process_speaks_for_a_run(
    speaks: bool, stage: str | None, said: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beginning, "notices", lambda plan, params: ["a line"])
    monkeypatch.delenv("DVC_STAGE", raising=False)
    if stage:
        monkeypatch.setenv("DVC_STAGE", stage)
    base = Path(__file__).resolve().parents[3] / "params/base.yaml"
    assert beginning.plan([str(base)], speaks).run == "data/runs/demo"
    assert capsys.readouterr().err == "a line\n" * said


def test_a_run_whose_images_are_not_registered_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = str(Path(__file__).resolve().parents[3] / "params/base.yaml")
    Path("o.yaml").write_text(
        "experiment: o\noracle: people\nseeds: [0]\nstrategies: [entropy]\nbudget: {initial: all}\n"
        "dataset: {format: folder, root: images, options: {annotations: labels.json}}\n"
    )
    with pytest.raises(
        MgralError, match=r"data/annotations/o/images\.json: .* run `mgral register --params .*o\.yaml`"
    ):
        beginning.plan([base, "o.yaml"], speaks=False)
    Path("data/annotations/o/cycle-0").mkdir(parents=True)
    with pytest.raises(MgralError, match=r"images\.json: .* restore this file \(git\)"):
        beginning.plan([base, "o.yaml"], speaks=False)
    Path("data/annotations/o/images.json").touch()
    assert beginning.plan([base, "o.yaml"], speaks=False).run == "data/runs/o"
