"""What a step declares: the parameters that it reads, by value and as a file, and its code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.iocontainers import InputFiles, OutputFiles, Wildcards

from mgral import cli
from mgral.config import loading
from mgral.core import code_hash
from mgral.planning.run_plan import RunPlan
from mgral.planning.step_inputs import StepInputs, folder_of_input, folder_of_output

PARAMS = Path(__file__).resolve().parents[3] / "params"
SELECT = "mgral.cli.select"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def inputs(**changes: Any) -> StepInputs:
    given = yaml.safe_load((PARAMS / "base.yaml").read_text())
    for override in (yaml.safe_load((PARAMS / "tiny.yaml").read_text()), changes):
        given = loading.merge(given, override)
    plan = RunPlan(loading.check(given, "test"))
    return StepInputs(plan, cli.module, cli.VERBS)


def test_a_step_declares_what_its_verb_reads_and_nothing_else() -> None:
    pool = json.loads(inputs().parameters("mgral.cli.pool"))
    assert pool == {"budget": {"initial": 12, "initial_by": "random"}}
    assert inputs(search={"iterations": 9}).parameters("mgral.cli.pool") == inputs().parameters("mgral.cli.pool")
    assert inputs(budget={"initial": 13}).parameters("mgral.cli.pool") != inputs().parameters("mgral.cli.pool")
    assert inputs(budget={"batch": 5}).parameters("mgral.cli.pool") == inputs().parameters("mgral.cli.pool")


def test_a_step_of_one_strategy_sees_no_other() -> None:
    entropy = {"name": "mine", "plugin": "entropy", "options": {"aggregate": "max"}}
    one, other = inputs(strategies=["random", entropy]), inputs(strategies=["coreset", entropy])
    declared = json.loads(one.parameters(SELECT, "mine"))
    assert [strategy["name"] for strategy in declared["strategies"]] == ["mine"]
    assert one.parameters(SELECT, "mine") == other.parameters(SELECT, "mine")
    assert one.parameters(SELECT) != other.parameters(SELECT)


def test_the_file_for_a_command_holds_what_is_declared() -> None:
    first = inputs()
    path = Path(first.file(SELECT, "mgral"))
    assert path.parent == Path(".snakemake/parameters")
    assert path.name.startswith("select-")
    assert json.loads(path.read_text()) == json.loads(first.parameters(SELECT, "mgral"))
    assert inputs().file(SELECT, "mgral") == str(path)
    changed = Path(inputs(budget={"batch": 5}).file(SELECT, "mgral"))
    assert changed != path  # a job that waits is given what was declared for it
    assert json.loads(path.read_text())["budget"]["batch"] == 4
    assert json.loads(changed.read_text())["budget"]["batch"] == 5


def test_a_file_that_was_edited_is_written_again() -> None:
    path = Path(inputs().file(SELECT, "random"))
    kept = path.read_bytes()
    path.write_text("{}")
    assert Path(inputs().file(SELECT, "random")).read_bytes() == kept


def test_the_code_is_that_of_the_verb_and_its_plugins() -> None:
    found = inputs()
    assert found.code(SELECT) == code_hash.code_hash(SELECT)
    assert found.code(SELECT, "mgral.strategies.entropy") != found.code(SELECT, "mgral.strategies.random")


def test_a_rule_declares_parameters_by_value_and_hands_over_its_files() -> None:
    found = inputs()
    declared = found.of_rule("select", lambda wildcards: [f"mgral.strategies.{wildcards.label}"])
    job = Wildcards(fromdict={"label": "random"})
    assert declared["settings"](job) == found.parameters(SELECT, "random")
    assert declared["code"](job) == found.code(SELECT, "mgral.strategies.random")
    files = InputFiles(fromdict={"pool": "pool.json"}), InputFiles(fromdict={"out": "selected.json"})
    parameters = found.file(SELECT, "random")
    assert declared["command"](job, *files) == f"select --params {parameters} --pool pool.json --out selected.json"
    assert declared["message"](job, None) == "random: select the next batch"


def test_a_rule_whose_verb_reads_no_parameters_declares_none() -> None:
    declared = inputs().of_rule("annotate", reads=False)
    assert set(declared) == {"code", "words", "command", "message"}
    pool = InputFiles(fromdict={"pool": "pool.json"})
    assert declared["command"](Wildcards(), pool, InputFiles()) == "annotate --pool pool.json"


def test_further_options_of_a_command_are_declared_by_name() -> None:
    more: dict[str, Any] = {
        "seed": "{seed}",
        "keep": lambda wildcards: ["a", wildcards.part],
        "no_fallback": True,
        "temperature": lambda wildcards: None,
        "patterns": False,
        "baselines": [],
        "run": lambda wildcards, input: "a folder",
        "out": folder_of_output,
    }
    declared = inputs().of_rule("annotate", reads=False, words=lambda wildcards, output: ["--batch", 0, 1], **more)
    assert {name: declared[name] for name in more} == more
    job, made = Wildcards(fromdict={"seed": "3", "part": "b"}), OutputFiles(["table/index", "b"])
    assert declared["command"](job, InputFiles(), made) == (
        "annotate --seed 3 --keep a b --no-fallback --baselines --run 'a folder' --out table --batch 0 1"
    )
    assert folder_of_input(job, InputFiles()) == ""  # as of a rule without files
    last = inputs().of_rule("annotate", reads=False, words="--date $(date)")["command"]
    assert last(job, InputFiles(), made) == "annotate --date $(date)"  # for the shell to read
