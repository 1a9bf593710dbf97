"""A run that people answer: it waits, goes on with their labels, and trains nothing again that they did not change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import TINY, Checkout, copy_project
from nursery import Nursery

from conftest import duplicate
from mgral.annotation import exchange, simulated
from mgral.annotation.exchange import Answer, AnswerBox, Batch
from mgral.annotation.tools import label_studio
from mgral.config.annotation import AnnotatorNoise
from mgral.core.files import read_json, write_json
from mgral.core.types import Dataset
from mgral.data import dataset_json
from mgral.data.pool import read_pool

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("people")]  # its fixtures are made once

MINE = "params/mine.yaml"
RUN = "data/runs/mine"
ENTROPY = f"{RUN}/entropy/seed-0"
ANSWERS = "data/annotations/mine"
CLEAN = "Data and pipelines are up to date."


def verb(checkout: Checkout, *arguments: str, fails: bool = False) -> str:
    return checkout.call("mgral", *arguments, "--params", "params/base.yaml", MINE, fails=fails)


def batch_of(checkout: Checkout, cycle: int) -> Batch:
    return exchange.read_batch(checkout.root / f"{ENTROPY}/cycle-{cycle}/batch/manifest.json")


def truth(checkout: Checkout) -> Dataset:
    """All labels, by the ids of the run."""
    content = read_json(checkout.root / "truth.json")
    ids = {one["file_name"]: one["id"] for one in read_json(checkout.root / f"{ANSWERS}/images.json")["images"]}
    number = {image["id"]: ids[image["file_name"]] for image in content["images"]}
    images = [{**image, "id": number[image["id"]], "split": "train"} for image in content["images"]]
    objects = [{**one, "image_id": number[one["image_id"]]} for one in content["annotations"]]
    info = {"format": "coco", "image_root": "mine", "unlabelled": []}
    write_json(checkout.root / "all.json", {**content, "info": info, "images": images, "annotations": objects})
    return dataset_json.read(checkout.root / "all.json")


def answer(checkout: Checkout, cycle: int, more: dict[int, list[Answer]] | None = None) -> None:
    """Simulated people without faults answer the batch of a cycle, in a file of Label Studio; ``more`` overrides."""
    batch = batch_of(checkout, cycle)
    said = simulated.answers(batch, truth(checkout).boxes, 1, AnnotatorNoise(seconds=10), seed=0)
    label_studio.respond(batch, {**said, **(more or {})}, checkout.root / "back")
    verb(checkout, "return", "back/export.json")


def state(checkout: Checkout, *folders: str) -> dict[str, tuple[int, bytes]]:
    """Time and content of all files of some folders below the run."""
    paths = [path for folder in folders for path in (checkout.root / RUN / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(checkout.root)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery | None) -> Checkout:
    """A run whose first batch waits for people, of a folder that is annotated in part. Shared: change nothing."""
    project = copy_project(tmp_path_factory.mktemp("waiting") / "project", nursery)
    project.snakemake("--", "data/raw/tiny/annotations.json")
    raw = project.root / "data/raw/tiny"
    shutil.copytree(raw / "images", project.root / "mine")
    content = read_json(raw / "annotations.json")
    images = [{**image, "file_name": image["file_name"].removeprefix("images/")} for image in content["images"]]
    write_json(project.root / "truth.json", {**content, "images": images})
    begun = [{key: image[key] for key in image if key != "split"} for image in images if image["id"] % 2]
    known = {image["id"] for image in begun}
    objects = [one for one in content["annotations"] if one["image_id"] in known]
    write_json(project.root / "labels.json", {**content, "images": begun, "annotations": objects})
    given = yaml.safe_load((project.root / TINY).read_text()) | {
        "experiment": "mine",
        "cycles": 3,
        "strategies": ["entropy"],
        "oracle": "people",
        "budget": {"initial": "all", "batch": 4},
        "dataset": {"format": "folder", "root": "mine", "options": {"annotations": "../labels.json"}},
        "annotation": {"extra": "take"},
        "noise": {"repeats": 0},
    }
    (project.root / MINE).write_text(yaml.safe_dump(given))
    (project.root / ".gitignore").open("a").write("/back/\n")
    verb(project, "register")
    text = project.snakemake(params=MINE)
    assert f"waiting for people after cycle 0: its batch will be in {ENTROPY}/cycle-0/batch; next: `mgral push`" in text
    return project


@pytest.fixture(scope="module")
def second(waiting: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The same run with its first batch closed and its second waiting. Shared: change nothing."""
    project = duplicate(waiting, tmp_path_factory.mktemp("second") / "project")
    skipped, cannot, *_ = batch_of(project, 0).images
    answer(
        project,
        0,
        {
            skipped.id: [Answer(skipped.export_name, "skipped", id=skipped.id, sha256=skipped.sha256)],
            cannot.id: [Answer(cannot.export_name, "cannot", id=cannot.id, sha256=cannot.sha256)],
        },
    )
    before = state(project, "shared", "entropy/seed-0/cycle-0", "dataset")
    assert "4 images in data/runs/mine/entropy/seed-0/cycle-0/batch, 1 file returned" in project.snakemake(params=MINE)
    verb(project, "close")
    text = project.snakemake(params=MINE)
    assert "waiting for people after cycle 1" in text
    assert state(project, "shared", "entropy/seed-0/cycle-0", "dataset") == before
    return project


def test_a_run_waits_and_has_all_that_can_be_computed(waiting: Checkout):
    batch = batch_of(waiting, 0)
    assert len(batch.images) == 4
    assert (waiting.root / f"{ENTROPY}/cycle-0/batch/tasks.json").exists()
    text = waiting.snakemake(params=MINE)
    assert "Nothing to be done" in text
    (line,) = [line for line in text.splitlines() if "waiting for people" in line]
    assert f"batch {batch.id} of cycle 0, 4 images in {ENTROPY}/cycle-0/batch, 0 files returned" in line
    assert line.endswith(f"then `mgral close`, each with --params params/base.yaml {MINE}")
    curve = (waiting.root / RUN / "curve.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in curve[1:]] == ["0"]
    assert "<html" in (waiting.root / RUN / "report.html").read_text()


def test_a_cycle_trains_on_what_people_said(second: Checkout):
    asked = [image.id for image in batch_of(second, 0).images]
    skipped, cannot, *labelled = asked
    before = dataset_json.read(second.root / RUN / "dataset/dataset.json")
    after = dataset_json.read(second.root / f"{ENTROPY}/cycle-1/dataset.json")
    assert after.images == before.images
    assert set(after.boxes) == {*before.boxes, *labelled}
    known = truth(second)
    for i in labelled:
        assert after.boxes[i].xyxy.tolist() == known.boxes[i].xyxy.tolist()
    pool = read_pool(second.root / f"{ENTROPY}/cycle-1/pool.json", after)
    assert {i for i, cycle in pool.labelled.items() if cycle == 1} == set(labelled)
    assert pool.resting == (skipped,)
    assert cannot not in {*pool.unlabelled, *pool.labelled}
    curve = (second.root / RUN / "curve.csv").read_text().splitlines()
    assert [int(row.split(",")[3]) for row in curve[1:]] == [len(pool.labelled) - 2, len(pool.labelled)]
    assert not {*asked} & {image.id for image in batch_of(second, 1).images}


@pytest.mark.parametrize("change", ["match_iou: 0.9", "extra: refuse", "annotators: 2"])
def test_rules_of_a_later_batch_train_nothing_again(second: Checkout, tmp_path: Path, change: str):
    project = duplicate(second, tmp_path / "project")
    text = (project.root / MINE).read_text()
    (project.root / MINE).write_text(text.replace("  extra: take", f"  {change}"))
    assert project.plan(params=MINE) == {"report": 1, "all": 1}  # it prints all parameters


def test_what_comes_late_or_more_changes_nothing(second: Checkout, tmp_path: Path):
    project = duplicate(second, tmp_path / "project")
    back = (project.root / "back/export.json").read_text()
    (project.root / "back/export.json").write_text(back + "\n")
    assert "cycle 0 is closed" in verb(project, "return", "--cycle", "0", "back/export.json", fails=True)
    (project.root / f"{ANSWERS}/cycle-0/002-label_studio.json").write_text("[]")
    shutil.copy(project.root / "mine/000001.jpg", project.root / "mine/a-new-one.jpg")
    assert project.plan(params=MINE) == {}


def test_a_corrected_box_concerns_the_next_cycle_alone(second: Checkout, tmp_path: Path):
    project = duplicate(second, tmp_path / "project")
    first = batch_of(project, 0)
    corrected = first.images[-1]
    box = AnswerBox(first.classes[0], (1.0, 2.0, 30.0, 31.0), "manual")
    answer(project, 1)
    about: dict[str, Any] = {"id": corrected.id, "sha256": corrected.sha256, "at": "2026-05-01", "who": "1"}
    said = {corrected.id: [Answer(corrected.export_name, "finished", (box,), **about)]}
    label_studio.respond(first, said, project.root / "back")
    assert "return it to the cycle it belongs to" in verb(project, "return", "back/export.json", fails=True)
    assert "1 images more that were not asked for" in verb(project, "return", "--corrects", "0", "back/export.json")
    before = state(project, "shared", "dataset", "entropy")
    verb(project, "close")
    text = project.snakemake(params=MINE)
    assert "waiting for people" not in text
    after = state(project, "shared", "dataset", "entropy")
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[5] for name in after.keys() - before.keys()} == {"cycle-2"}
    last = dataset_json.read(project.root / f"{ENTROPY}/cycle-2/dataset.json")
    assert last.boxes[corrected.id].xyxy.tolist() == [[1, 2, 30, 31]]
    assert "waiting" not in project.snakemake(params=MINE)


def test_months_later_in_a_clone(second: Checkout, tmp_path: Path):
    """From git and DVC: nothing is to be done, the answers of the second batch are taken, and `dvc repro` goes on."""
    origin = duplicate(second, tmp_path / "project")
    venv = origin.root / ".venv"
    venv.mkdir()
    for stamp in (".pinned", ".ready"):
        (venv / stamp).touch()
    origin.call("make", "record", f"PARAMS={MINE}")
    origin.call("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    origin.call("dvc", "push", "--quiet")
    origin.git_commit()
    origin.call("git", "clone", "--quiet", str(origin.root), str(tmp_path / "clone"))
    clone = Checkout(tmp_path / "clone", origin.nursery)
    clone.call("dvc", "pull", "--quiet")
    assert clone.plan(params=MINE) == {}
    assert CLEAN in clone.call("dvc", "status")
    assert CLEAN in clone.call("dvc", "repro")
    answer(clone, 1)
    verb(clone, "close")
    clone.snakemake("--force", "--", "dvc.yaml", params=MINE)
    text = clone.call("dvc", "repro")
    assert "Running stage 'cycle@entropy-0-2'" in text
    assert "Running stage 'cycle@entropy-0-1'" not in text
    assert len((clone.root / RUN / "curve.csv").read_text().splitlines()) == 1 + 3
    assert clone.plan(params=MINE) == {}
    assert CLEAN in clone.call("dvc", "status")
