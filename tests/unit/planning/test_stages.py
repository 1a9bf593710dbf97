"""What dvc.yaml is written from."""

from __future__ import annotations

from pathlib import Path

import yaml

from mgral.config import loading
from mgral.data.source_files import SourceFiles
from mgral.planning import stages
from mgral.planning.run_plan import RunPlan

PARAMS = Path(__file__).resolve().parents[3] / "params"


def plan(name: str) -> RunPlan:
    return RunPlan(loading.read([PARAMS / "base.yaml", PARAMS / f"{name}.yaml"]))


def test_parameter_files_are_quoted_for_the_shell() -> None:
    found = stages.of(plan("tiny"), ["params/blood's own & more.yaml"])
    assert found["overrides"] == ["params/blood's own & more.yaml"]
    assert found["configfiles"] == " --configfile 'params/blood'\"'\"'s own & more.yaml'"
    assert stages.of(plan("tiny"), [])["configfiles"] == ""


def test_a_generated_data_set_is_an_output_and_a_users_is_none() -> None:
    found = stages.of(plan("tiny"), [])
    assert (found["dataset"], found["sources"]) == (["data/runs/tiny/dataset", "data/raw/tiny"], [])
    cells = plan("bccd")
    cells.source = SourceFiles(["mine/a.xml"], "", ["mine"])
    bccd = stages.of(cells, [])
    assert (bccd["dataset"], bccd["sources"]) == (["data/runs/bccd/dataset"], ["mine"])


def test_the_figures_that_are_tracked_are_made() -> None:
    kept = yaml.safe_load((PARAMS.parent / "dvc.yaml").read_text())
    shown = {Path(name).stem for plot in kept["plots"] if isinstance(plot, str) for name in [plot]}
    assert shown == set(stages.FIGURES)


def test_a_stage_has_its_seed_in_the_folder_that_is_shared() -> None:
    assert stages.of(plan("tiny"), [])["shared"](None) == "data/runs/tiny/shared/seed-${item}/cycle-0"
