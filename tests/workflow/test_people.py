"""A run that people answer: it waits, goes on with their labels, and trains nothing again that they did not change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from checkouts import Checkout, duplicate
from people import ANSWERS, ENTROPY, MINE, RUN, answer, batch_of, state, truth, verb
from PIL import Image

from mgral.annotation.exchange import Answer, AnswerBox
from mgral.annotation.tools import label_studio
from mgral.core.files import read_json, write_json
from mgral.data import dataset_json
from mgral.data.pool import read_pool

pytestmark = pytest.mark.slow

CLEAN = "Data and pipelines are up to date."


def test_a_run_waits_and_has_all_that_can_be_computed(waiting: Checkout):
    batch = batch_of(waiting, 0)
    assert len(batch.images) == 4
    assert (waiting.root / f"{ENTROPY}/cycle-0/batch/tasks.json").exists()
    text = waiting.snakemake(params=MINE)
    assert "Nothing to be done" in text
    (line,) = [line for line in text.splitlines() if "waiting for people" in line]
    assert f"batch {batch.id} of cycle 0, 4 images in {ENTROPY}/cycle-0/batch, 0 files returned" in line
    assert line.endswith(f"then `mgral close`, each with --params params/base.yaml {MINE}")
    stage = ["env", "DVC_STAGE=dataset", "snakemake", "--cores", "1", "--dry-run", "--configfile", MINE]
    assert "waiting for people" not in waiting.call(*stage)  # of DVC's stages, only the last says it
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
    assert "if that is closed, give it as a correction" in verb(project, "return", "back/export.json", fails=True)
    assert "1 image more that the batch did not ask for" in verb(
        project, "return", "--corrects", "0", "back/export.json"
    )
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


def test_images_that_are_added_join_the_next_pool(waiting: Checkout, tmp_path: Path):
    """After the first batch was asked: cycle 0 stays as it is, cycle 1 may ask for them, cycle 2 trains on them."""
    project = duplicate(waiting, tmp_path / "project")
    content = read_json(project.root / "truth.json")
    late = [f"late/{number}.jpg" for number in range(8)]
    (project.root / "mine/late").mkdir()
    number, objects = max(one["id"] for one in content["images"]), max(one["id"] for one in content["annotations"])
    for name, image in zip(late, [*content["images"]][:8], strict=True):
        boxes = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        with Image.open(project.root / "mine" / image["file_name"]) as picture:
            picture.save(project.root / "mine" / name, quality=60)  # other bytes, the same objects
        number += 1
        content["images"].append({**image, "id": number, "file_name": name})
        content["annotations"] += [
            {**box, "id": objects + k, "image_id": number} for k, box in enumerate(boxes, start=1)
        ]
        objects += len(boxes)
    write_json(project.root / "truth.json", content)
    assert project.plan(params=MINE) == {}
    assert "8 of them new, for the pool of cycle 1" in verb(project, "register")
    assert project.plan(params=MINE) == {}
    ids = {one["file_name"]: one["id"] for one in read_json(project.root / f"{ANSWERS}/images.json")["images"]}
    new = {ids[name] for name in late}

    answer(project, 0)
    before = state(project, "shared", "dataset", "entropy")
    assert "pool of cycle 1: 8 images more, added since" in verb(project, "close")
    project.snakemake(params=MINE)
    after = state(project, "shared", "dataset", "entropy")
    assert {name: after[name] for name in before} == before
    dataset = dataset_json.read(project.root / f"{ENTROPY}/cycle-1/dataset.json")
    assert {i for i, image in dataset.images.items() if image.since == 1} == new
    assert new <= {*read_pool(project.root / f"{ENTROPY}/cycle-1/pool.json", dataset).unlabelled}
    asked = new & {image.id for image in batch_of(project, 1).images}
    assert asked

    answer(project, 1)
    assert "join the pool" not in verb(project, "close")
    project.snakemake(params=MINE)
    assert {name: state(project, "shared", "dataset", "entropy")[name] for name in after} == after
    last = dataset_json.read(project.root / f"{ENTROPY}/cycle-2/dataset.json")
    assert asked <= last.boxes.keys()
    assert asked <= read_pool(project.root / f"{ENTROPY}/cycle-2/pool.json", last).labelled.keys()
    assert project.plan(params=MINE) == {}

    given = ["--registered", f"{ANSWERS}/images.json", "--out", "back/dataset.json"]
    verb(project, "import", *given)  # as on another machine: the data set of the beginning
    first = (project.root / RUN / "dataset/dataset.json").read_bytes()
    assert (project.root / "back/dataset.json").read_bytes() == first


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
    text = clone.call("dvc", "repro")
    assert CLEAN in text
    assert "Stage 'waiting-for-people-to-label-cycle-1' didn't change, skipping" in text
    answer(clone, 1)
    text = clone.call("dvc", "repro")
    assert "Running stage 'waiting-for-people-to-label-cycle-1'" in text
    assert "of cycle 1: 4 images asked, 4 finished" in text
    assert f"not closed yet; when enough are labelled: mgral close --params params/base.yaml {MINE}" in text
    text = verb(clone, "close")
    assert f"closed; next:\n  snakemake --cores all --configfile {MINE}\n" in text
    (line,) = [line for line in text.splitlines() if line.startswith("or, with DVC: ")]
    add, repro = line.removeprefix("or, with DVC: ").split(" && ")
    clone.call(*add.split())
    text = clone.call(*repro.split())
    assert "Running stage 'cycle@entropy-0-2'" in text
    assert "Running stage 'cycle@entropy-0-1'" not in text
    assert len((clone.root / RUN / "curve.csv").read_text().splitlines()) == 1 + 3
    assert clone.plan(params=MINE) == {}
    assert CLEAN in clone.call("dvc", "status")
