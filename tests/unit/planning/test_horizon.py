"""How far a run can go that people answer, and what it says while it waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import batches
import pytest
import yaml

from mgral.annotation import exchange
from mgral.annotation.exchange import Source
from mgral.annotation.returns import Closed, Folder
from mgral.config.annotation import Annotation
from mgral.config.schema import Params
from mgral.core.errors import MgralError
from mgral.planning import waiting
from mgral.planning.run_plan import RunPlan

BASE = Path(__file__).resolve().parents[3] / "params" / "base.yaml"
RUN = "data/runs/mine/entropy/seed-0"
ANSWERS = Path("data/annotations/mine")


def plan(oracle: str = "people", **more: Any) -> RunPlan:
    given = yaml.safe_load(BASE.read_text())
    given |= {"experiment": "mine", "cycles": 3, "seeds": [0], "strategies": ["entropy"], "oracle": oracle, **more}
    return RunPlan(Params.parse(given, "test:"))


def close(cycle: int, tool: str = "cvat") -> None:
    batch = replace(batches.batch(Path("set"), batches.images(Path("set"))), cycle=cycle)
    folder = Folder(ANSWERS / f"cycle-{cycle}")
    files = folder.take(batch, [(Path("a.xml"), [Source("a.xml", "a.xml", b"<annotations/>")])], tool)
    head: dict[str, Any] = {"batch": batch.id, "experiment": "mine", "cycle": cycle, "partial": False}
    folder.close(Closed(**head, classes=list(batch.classes), annotation=Annotation(), files=files))


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_goes_up_to_the_first_batch_that_is_not_closed() -> None:
    assert (plan().waiting, list(plan().cycles), list(plan().selecting)) == (0, [0], [0])
    close(0)
    assert (plan().waiting, list(plan().cycles), list(plan().selecting)) == (1, [0, 1], [0, 1])
    assert plan().tools(0) == ["mgral.annotation.tools.cvat"]
    assert plan().closed(0) == [
        f"{ANSWERS}/cycle-0/{name}" for name in ("closed.json", "manifest.json", "001-cvat.xml")
    ]
    close(1)
    assert (plan().waiting, list(plan().cycles), list(plan().selecting)) == (None, [0, 1, 2], [0, 1])
    assert waiting.line(plan(), ["p.yaml"]) is None


def test_a_batch_closed_out_of_turn_does_not_skip_one() -> None:
    close(1)
    assert plan().waiting == 0


def test_each_cycle_that_people_answer_has_its_own_data_set() -> None:
    first = "data/runs/mine/dataset/dataset.json"
    assert plan().dataset_of("shared", 0, 0) == first
    for oracle in ("people", "simulated"):
        assert plan(oracle).dataset_of("entropy", 0, 2) == f"{RUN}/cycle-2/dataset.json"
    assert plan("dataset").dataset_of("entropy", 0, 2) == first
    assert plan("dataset").registered == plan("simulated").registered == []
    assert plan().registered == [f"{ANSWERS}/images.json"]


def test_nobody_is_waited_for_but_people() -> None:
    for oracle in ("dataset", "simulated"):
        assert (plan(oracle).waiting, len(plan(oracle).cycles)) == (None, 3)


def test_the_last_line_names_the_batch_or_the_report() -> None:
    assert waiting.ending(plan("dataset"), ["a.yaml"], "r.html") == f"{plan().run} is complete; open r.html"
    assert waiting.ending(plan(annotation={"tool": "coco"}), ["a.yaml", "b.yaml"], "r.html") == (
        f"cycle 0 is ready to be labelled: its batch is in {RUN}/cycle-0/batch; next: `mgral return FILE`, "
        "then `mgral close`, each with --params a.yaml b.yaml. The report so far: r.html"
    )


def test_the_commands_of_a_tool_are_named_at_the_start_and_at_the_end() -> None:
    cvat = plan(annotation={"tool": "cvat"})
    how = "next: the commands in its commands.txt, and `mgral return FILE`, then `mgral close`"
    assert how in waiting.ending(cvat, ["a.yaml"], "r.html")
    exchange.write_batch(batches.batch(Path("set"), batches.images(Path("set"))), f"{RUN}/cycle-0/batch/manifest.json")
    line = waiting.line(cvat, ["a.yaml"])
    assert line is not None and how in line


def test_the_line_names_batch_folder_files_and_the_next_command() -> None:
    line = waiting.line(plan(), ["base.yaml", "mine.yaml"])
    assert line == f"waiting for people after cycle 0: this run makes its batch, in {RUN}/cycle-0/batch"
    batch = batches.batch(Path("set"), batches.images(Path("set")))
    exchange.write_batch(batch, f"{RUN}/cycle-0/batch/manifest.json")
    assert waiting.line(plan(), ["base.yaml", "mine.yaml"]) == (
        f"waiting for people: batch {batch.id} of cycle 0, 8 images in {RUN}/cycle-0/batch, 0 files returned; next: "
        "`mgral push` and `mgral pull`, or `mgral return FILE`, then `mgral close`, "
        "each with --params base.yaml mine.yaml"
    )
    other = replace(batch, images=batch.images[:2])
    Folder(ANSWERS / "cycle-0").take(other, [(Path("a"), [Source("a", "a", b"x")])], "coco")
    line = waiting.line(plan(annotation={"tool": "coco"}), ["base.yaml"])
    assert line is not None and f"answers batch {other.id}, and the run now asks {batch.id}" in line
    assert "next: `mgral return FILE`" in line


def test_a_clone_knows_the_batch_that_was_sent_from_its_answers() -> None:
    batch = batches.batch(Path("set"), batches.images(Path("set")))
    Folder(ANSWERS / "cycle-0").keep(batch)
    line = waiting.line(plan(), ["base.yaml"])
    assert line is not None
    where = f"8 images, sent before and made again by this run in {RUN}/cycle-0/batch"
    assert line.startswith(f"waiting for people: batch {batch.id} of cycle 0, {where}, 0 files returned; next:")


def test_a_damaged_closed_file_is_named() -> None:
    path = ANSWERS / "cycle-0/closed.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(MgralError, match=r"closed\.json: .*missing"):
        plan()
