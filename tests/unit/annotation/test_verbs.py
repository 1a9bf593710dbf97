"""A batch goes out and comes back by the verbs of the command line, with everything that may go wrong between."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import batches
import numpy as np
import pytest
import yaml

from mgral import cli
from mgral.annotation import exchange
from mgral.annotation.exchange import Answer, AnswerBox, Batch
from mgral.annotation.tools import coco, cvat, label_studio
from mgral.core.files import read_json
from mgral.core.types import Boxes, Dataset, Detections, Image, Pick, Tiling
from mgral.data import dataset_json, image_cache
from mgral.data.pool import Pool, read_pool, write_pool
from mgral.data.resizing import Resizing
from mgral.data.selection import Selection, write_selection
from mgral.detection import detections_file

CYCLE = Path("data/runs/mine/random/seed-0/cycle-0")
ANSWERS = Path("data/annotations/mine/cycle-0")
NAMES = [*batches.HOSTILE, "val.png", "test.png"]
TRUTH = Boxes(np.array([[5, 6, 20, 30]], np.float32), np.array([3]), np.array([False]))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose cycle 0 has selected images 1 to 6 of 8; 7 is labelled, 8 is left."""
    monkeypatch.chdir(tmp_path)
    found = batches.images(Path("set"), NAMES)
    splits: dict[int, Any] = {9: "val", 10: "test"}
    images = {im.id: Image(im.id, im.file_name, im.width, im.height, splits.get(im.id, "train")) for im in found}
    dataset = Dataset(batches.CLASSES, images, dict.fromkeys((7, 9, 10), TRUTH), Path("set"))
    info = {"format": "folder", "ids": "own", "splits_drawn": []}
    dataset_json.write(dataset, info, CYCLE / "dataset.json")
    truth = replace(dataset, boxes=dict.fromkeys(images, TRUTH))
    dataset_json.write(truth, info, "truth.json")
    write_pool(Pool(0, {7: 0}, (1, 2, 3, 4, 5, 6, 8)), CYCLE / "pool.json")
    picks = [Pick(i, 7.0 - i, {"entropy": 7.0 - i}) for i in range(1, 7)]
    write_selection(Selection("random", "random", 0, 0, 6, picks), dataset, CYCLE / "selected.json")
    one = Detections(
        np.array([[1, 2, 11, 12], [-3, 5, 9, 90]], np.float32),
        np.array([0.9, 0.2], np.float32),
        np.array([1, 2]),
        np.zeros((2, 5), np.float32),
    )
    detections_file.write(CYCLE / "detections.npz", dict.fromkeys(range(1, 9), one), "softmax", 4)
    return tmp_path


def run(*arguments: str, **annotation: Any) -> int:
    given = {"experiment": "mine", "seeds": [0], "strategies": ["random"], "oracle": "people", "annotation": annotation}
    Path("p.yaml").write_text(yaml.safe_dump(given))
    return cli.main([*arguments, "--params", "p.yaml"])


def export(**annotation: Any) -> Batch:
    files = ["--dataset", f"{CYCLE}/dataset.json", "--selected", f"{CYCLE}/selected.json"]
    files += ["--detections", f"{CYCLE}/detections.npz", "--out", f"{CYCLE}/batch/manifest.json"]
    assert run("export", *files, **annotation) == 0
    return exchange.read_batch(CYCLE / "batch/manifest.json")


def labels(*how: str, **annotation: Any) -> int:
    given = how or ("--closed", f"{ANSWERS}/closed.json")
    files = ["--dataset", f"{CYCLE}/dataset.json", "--out", "labels.json", "--out-dataset", "next.json"]
    return run("labels", *files, *given, **annotation)


def said(batch: Batch, **states: Any) -> dict[int, list[Answer]]:
    """Image 1 has one box, 2 is empty, 3 skipped, 4 cannot be labelled, 5 is a draft, 6 untouched."""
    a, b, c, d, e, _ = batch.images
    drawn = (AnswerBox("ant", (4.0, 5.0, 20.0, 33.5), "manual"),)
    return {
        a.id: [batches.said(a, "finished", drawn)],
        b.id: [batches.said(b, "finished")],
        c.id: [batches.said(c, "skipped", drawn)],
        d.id: [batches.said(d, "cannot")],
        e.id: [batches.said(e, "draft", drawn)],
    } | states


def returned(batch: Batch, answers: dict[int, list[Answer]], name: str = "export") -> str:
    label_studio.respond(batch, answers, Path(name))
    return f"{name}/export.json"


def test_a_batch_goes_out_and_its_labels_come_back(place: Path, capsys: Any) -> None:
    batch = export()
    assert [image.rank for image in batch.images] == [1, 2, 3, 4, 5, 6]
    shown = [image for image in batch.images if image.shown]
    assert all([p.xyxy for p in image.predictions] == [(1, 2, 11, 12)] for image in shown)  # 0.2 is below 0.3
    tasks = read_json(CYCLE / "batch/tasks.json")
    assert tasks[0]["data"]["title"] == "1. entropy 6"
    capsys.readouterr()

    assert run("return", returned(batch, said(batch))) == 0
    text = capsys.readouterr().out
    assert "6 images asked, 2 finished, 1 skipped, 1 cannot be labelled, 2 open" in text
    assert run("status") == 0
    assert "not closed yet" in capsys.readouterr().out
    assert run("close") == 2
    assert "2 of 6 images are open, '100%25 sure?.png' first; return them, or go on without them with --partial" in (
        capsys.readouterr().err
    )
    assert not (ANSWERS / "closed.json").exists()
    assert run("close", "--partial") == 0
    assert run("status") == 0
    text = capsys.readouterr().out
    assert "the run goes on with these labels; next:\n  snakemake --cores all --configfile p.yaml\n" in text
    assert "or, with DVC: snakemake --cores 1 --force --configfile p.yaml -- dvc.yaml && dvc repro\n" in text

    assert labels() == 0
    after = dataset_json.read("next.json")
    assert sorted(after.boxes) == [1, 2, 7, 9, 10]
    assert after.boxes[1].xyxy.tolist() == [[4, 5, 20, 33.5]]
    assert after.boxes[1].labels.tolist() == [3]
    assert len(after.boxes[2]) == 0
    assert {i: image.split for i, image in after.images.items()}[9] == "val"
    one = read_json("labels.json")["images"][0]
    assert one["people"] == [
        {
            "who": "1",
            "at": "2026-02-03T04:05:06Z",
            "seconds": 12.5,
            "tool": "label_studio",
            "version": "",
            "file": "001-label_studio.json",
        }
    ]
    assert one["boxes"][0]["origin"] == "manual"

    files = ["--dataset", "next.json", "--pool", f"{CYCLE}/pool.json", "--selected", f"{CYCLE}/selected.json"]
    assert cli.main(["annotate", *files, "--labels", "labels.json", "--out", "pool-1.json"]) == 0
    pool = read_pool("pool-1.json", after)
    assert (pool.labelled, pool.unlabelled, pool.resting) == ({1: 1, 2: 1, 7: 0}, (5, 6, 8), (3,))


def test_late_files_change_nothing(place: Path, capsys: Any) -> None:
    batch = export()
    run("return", returned(batch, said(batch)))
    run("close", "--partial")
    assert labels() == 0
    first = Path("next.json").read_bytes(), Path("labels.json").read_bytes()
    later = said(batch) | {6: [batches.said(batch.images[5], "finished")]}
    assert run("return", "--cycle", "0", returned(batch, later)) == 2
    assert "cycle 0 is closed; what comes later counts for a later cycle" in capsys.readouterr().err
    (ANSWERS / "002-label_studio.json").write_text("[]")
    assert labels() == 0
    assert (Path("next.json").read_bytes(), Path("labels.json").read_bytes()) == first


def test_several_returns_add_up_and_the_newest_answer_counts(place: Path, capsys: Any) -> None:
    batch = export()
    a = batch.images[0]
    early = {1: [batches.said(a, "finished", (AnswerBox("ant", (1.0, 1.0, 9.0, 9.0)),), at="2026-01-01")]}
    late = {1: [batches.said(a, "finished", (AnswerBox("ant", (2.0, 2.0, 9.0, 9.0)),), at="2026-01-02")]}
    assert run("return", returned(batch, late, "x"), returned(batch, early, "y")) == 0
    assert run("close", "--partial") == 0
    assert labels() == 0
    assert dataset_json.read("next.json").boxes[1].xyxy.tolist() == [[2, 2, 9, 9]]


def folder_state() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(ANSWERS.rglob("*"))] if ANSWERS.exists() else []


def refuse(capsys: Any, *files: str, **annotation: Any) -> str:
    """The one line of a refused return; nothing is taken in."""
    before = folder_state()
    capsys.readouterr()
    assert run("return", *files, **annotation) == 2
    assert folder_state() == before
    text: str = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    return text


def test_what_does_not_belong_here_is_refused(place: Path, capsys: Any) -> None:
    batch = export()
    good = returned(batch, said(batch), "good")
    assert "is given twice; leave it out" in refuse(capsys, good, good)
    assert run("return", good) == 0
    assert "was returned before, as 001-label_studio.json" in refuse(capsys, good)
    a, b = batch.images[:2]
    drawn = (AnswerBox("ant", (1.0, 2.0, 3.0, 4.0)),)

    other = replace(batch, cycle=3)
    assert f"of batch {other.id}, not {batch.id}" in refuse(capsys, returned(other, said(other), "cycle"))
    theirs = replace(batch, experiment="theirs")
    assert f"of batch {theirs.id}, not {batch.id}" in refuse(capsys, returned(theirs, said(theirs), "theirs"))

    half = Path("half.json")
    half.write_bytes(Path(good).read_bytes()[:-40])
    assert "half.json: not whole, valid JSON" in refuse(capsys, "half.json")
    assert "none.json: no such file" in refuse(capsys, "none.json")

    strange = returned(batch, {1: [batches.said(a, "finished", (AnswerBox("unicorn", (1.0, 2.0, 3.0, 4.0)),))]}, "u")
    assert "unknown class 'unicorn'" in refuse(capsys, strange)
    turned = json.loads(Path(returned(batch, {2: [batches.said(b, "finished", drawn)]}, "t")).read_text())
    turned[1]["annotations"][0]["result"][0].update(original_width=b.height, original_height=b.width)
    Path("t.json").write_text(json.dumps(turned))
    assert "EXIF" in refuse(capsys, "t.json")
    bad = returned(batch, said(batch) | {6: [batches.said(batch.images[5], "finished", drawn)]}, "fresh")
    assert "u/export.json" in refuse(capsys, bad, strange)  # the sound file beside it is not taken either


def test_boxes_outside_are_clipped_and_counted(place: Path, capsys: Any) -> None:
    batch = export()
    a = batch.images[0]
    drawn = (AnswerBox("ant", (-5.0, 2.0, 10.0, 9.0)), AnswerBox("ant", (900.0, 2.0, 950.0, 9.0)))
    assert run("return", returned(batch, {1: [batches.said(a, "finished", drawn)]})) == 0
    text = capsys.readouterr().out
    assert "boxes clipped to their image: 1" in text
    assert "boxes without area, dropped: 1" in text


def test_classes_are_mapped_and_appended(place: Path, capsys: Any) -> None:
    batch = export()
    a = batch.images[0]
    drawn = tuple(AnswerBox(name, (1.0, 2.0, 10.0, 9.0)) for name in ("Ant", "wasp", "dirt"))
    rules = {"map": {"Ant": "ant", "dirt": "ignore"}, "classes": ["wasp"]}
    assert run("return", returned(batch, {1: [batches.said(a, "finished", drawn)]}), **rules) == 0
    assert "boxes: 3 (3 drawn)" in capsys.readouterr().out
    assert run("close", "--partial", **rules) == 0
    assert labels() == 0  # closed.json holds what was said of classes
    after = dataset_json.read("next.json")
    assert after.classes == (*batches.CLASSES, "wasp")
    assert after.boxes[1].labels.tolist() == [3, 4, 0, 1, 2, 3, 4]
    assert after.boxes[1].ignore.tolist() == [False, False, True, True, True, True, True]


def test_unsaid_images_are_refused_or_judged_as_set(place: Path, capsys: Any) -> None:
    batch = export(tool="coco")
    coco.respond(batch, {image.id: [batches.said(image, "unsaid")] for image in batch.images[:3]}, Path("back"))
    assert run("return", "back", tool="coco") == 0
    said = capsys.readouterr().out
    assert "unsaid: 3 images, of which the tool cannot tell whether anybody opened them; mark them" in said
    assert run("close", "--partial", tool="coco") == 2
    assert run("close", "--partial", tool="coco", unsaid="unlabelled") == 2
    assert "no image of batch" in capsys.readouterr().err
    assert run("close", "--partial", tool="coco", unsaid="empty") == 0
    assert labels(tool="coco", unsaid="empty") == 0
    assert sorted(dataset_json.read("next.json").boxes) == [1, 2, 3, 7, 9, 10]


def test_a_tool_other_than_the_experiments_is_named(place: Path) -> None:
    batch = export()
    answers = {i: given for i, given in said(batch).items() if i != 5}
    cvat.respond(batch, answers, Path("back"))
    assert run("return", "back/annotations.xml", "--tool", "cvat") == 0
    assert (ANSWERS / "001-cvat.xml").exists()
    assert run("close", "--partial", unsaid="unlabelled") == 0
    assert labels(unsaid="unlabelled") == 0
    assert sorted(dataset_json.read("next.json").boxes) == [1, 2, 7, 9, 10]


def test_a_changed_or_missing_file_is_noticed(place: Path, capsys: Any) -> None:
    batch = export()
    run("return", returned(batch, said(batch)))
    run("close", "--partial")
    path = ANSWERS / "001-label_studio.json"
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    assert labels() == 2
    assert "was changed after it was returned" in capsys.readouterr().err
    path.unlink()
    assert labels() == 2
    assert "001-label_studio.json: missing; restore it" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["label_studio", "cvat", "coco", "yolo", "voc"])
def test_simulated_people_without_faults_give_the_truth(place: Path, tool: str) -> None:
    export(tool=tool)
    assert labels("--simulated", f"{CYCLE}/batch/manifest.json", "--truth", "truth.json", tool=tool) == 0
    after = dataset_json.read("next.json")
    assert sorted(after.boxes) == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    for boxes in after.boxes.values():
        assert boxes.xyxy.tolist() == TRUTH.xyxy.tolist()
        assert boxes.labels.tolist() == [3]


def test_two_people_are_reconciled(place: Path, capsys: Any) -> None:
    batch = export()
    a = batch.images[0]
    one, two = AnswerBox("ant", (0.0, 0.0, 20.0, 20.0)), AnswerBox("ant", (2.0, 0.0, 20.0, 20.0))
    alone = AnswerBox("zebra", (30.0, 30.0, 40.0, 40.0))
    answers = {1: [batches.said(a, "finished", (one,), "1"), batches.said(a, "finished", (two, alone), "2")]}
    assert run("return", returned(batch, answers), annotators=2) == 0
    assert "1 image of several people: F1 0.667 between them, 1 box in conflict" in capsys.readouterr().out
    assert run("close", "--partial", annotators=2) == 0
    assert labels() == 0
    boxes = dataset_json.read("next.json").boxes[1]
    assert boxes.xyxy.tolist() == [[1, 0, 20, 20], [30, 30, 40, 40]]
    assert boxes.ignore.tolist() == [False, True]


def test_a_budget_in_boxes_is_shown_and_charged(place: Path, capsys: Any) -> None:
    """Image 7 has 1 detection of 0.3 or more and 1 box, as each image of the batch is expected to have."""
    Path("b.yaml").write_text("budget: {initial: all, batch: 6, unit: boxes, amount: 3}")
    files = ["--dataset", f"{CYCLE}/dataset.json", "--selected", f"{CYCLE}/selected.json", "--params", "b.yaml"]
    files += ["--pool", f"{CYCLE}/pool.json", "--detections", f"{CYCLE}/detections.npz"]
    assert run("export", *files, "--out", f"{CYCLE}/batch/manifest.json") == 0
    batch = exchange.read_batch(CYCLE / "batch/manifest.json")
    assert [image.id for image in batch.images] == [1, 2, 3]
    drawn = (AnswerBox("ant", (1.0, 1.0, 9.0, 9.0)),)
    answers = {image.id: [batches.said(image, "finished", drawn * 2)] for image in batch.images}
    assert run("return", returned(batch, answers)) == 0
    assert "budget: 3 boxes, +0 of them carried; expected 3 (3 to 3)" in capsys.readouterr().out
    assert run("close") == 0
    assert labels() == 0
    assert read_json("labels.json")["plan"]["amount"] == 3


def test_images_that_join_a_run_with_tiles_are_cut_as_well(place: Path, capsys: Any) -> None:
    """People annotate whole files: the answers and the new image are cut when the next cycle looks at them."""
    info, tiling = read_json(CYCLE / "dataset.json")["info"], Tiling(40, 10, 0.5)
    before = replace(dataset_json.read(CYCLE / "dataset.json"), tiling=tiling)
    dataset_json.write(before, info, CYCLE / "dataset.json")
    image_cache.build(before, Resizing("letterbox", 40), "images.npy")
    first = export()
    (late,) = batches.images(Path("set"), ["late.png"], (90, 30))
    known = [{"id": im.id, "since": 0} | _registered(im) for im in first.images]
    images = [*known, {"id": 11, "since": 1} | _registered(late)]
    register = {"experiment": "mine", "ids": "own", "splits_drawn": [], "images": images}
    (ANSWERS.parent / "images.json").parent.mkdir(parents=True, exist_ok=True)
    (ANSWERS.parent / "images.json").write_text(json.dumps(register))
    assert run("return", returned(first, said(first))) == 0
    assert run("close", "--partial") == 0
    assert "pool of cycle 1: 1 image more, added since" in capsys.readouterr().out
    assert labels() == 0
    after = dataset_json.read("next.json")
    assert after.tiling == tiling and after.images[11].since == 1 and 11 not in after.boxes
    cache = image_cache.Cache(after, "images.npy")
    assert [cache.image_of(one).tile for one in cache.inputs([11])] == [(11, 0, 0), (11, 30, 0), (11, 51, 0)]
    assert (cache.pixels(cache.inputs([11]))[:, :31] == [1, 0, 7]).all()
    shown = [cache.truth(one) for one in cache.inputs([1])]  # of 65 x 49 pixels; its box is 4..20, 5..33.5
    assert [one.xyxy.tolist() for one in shown] == [[[4, 5, 20, 33.5]], [], [[4, 0, 20, 24.5]], []]
    assert [one.ignore.tolist() for one in shown] == [[False], [], [False], []]


def _registered(image: exchange.BatchImage) -> dict[str, Any]:
    sides = {"width": image.width, "height": image.height}
    return {"sha256": image.sha256, "file_name": image.file_name, "split": "train", **sides}


def test_corrections_of_an_earlier_batch_count_in_the_open_one(place: Path, capsys: Any) -> None:
    first = export()
    run("return", returned(first, said(first)))
    run("close", "--partial")
    second = replace(first, cycle=1, images=first.images[4:])
    exchange.write_batch(second, CYCLE.parent / "cycle-1/batch/manifest.json")
    images = [{"id": im.id, "since": 0} | _registered(im) for im in first.images]
    register = {"experiment": "mine", "ids": "own", "splits_drawn": [], "images": images}
    (ANSWERS.parent / "images.json").write_text(json.dumps(register))
    box = (AnswerBox("zebra", (3.0, 3.0, 8.0, 8.0), "manual"),)
    corrected = said(first) | {1: [batches.said(first.images[0], "finished", box)]}
    file = returned(first, corrected, "corrected")
    assert run("return", file, extra="take") == 2
    assert "of batch" in capsys.readouterr().err
    assert run("return", "--corrects", "1", file, extra="take") == 2
    assert "cycle 1 is not closed" in capsys.readouterr().err
    assert run("return", "--corrects", "0", file, extra="take") == 0
    assert "2 images asked, 0 finished, 0 skipped" in capsys.readouterr().out  # a draft of that day says nothing
    answers = {image.id: [batches.said(image, "finished")] for image in second.images}
    assert run("return", returned(second, answers, "second"), extra="take") == 0
    assert run("close", extra="take") == 0
    assert labels("--closed", "data/annotations/mine/cycle-1/closed.json") == 0
    after = dataset_json.read("next.json")
    assert after.boxes[1].xyxy.tolist() == [[3, 3, 8, 8]]
    assert after.boxes[1].labels.tolist() == [0]


@pytest.mark.slow
def test_files_that_are_returned_at_the_same_time_all_count(place: Path) -> None:
    """Several people call the verb in one folder: each was told that its file is taken, and some were overwritten."""
    batch = export()
    run("status")  # writes the parameters
    command = [sys.executable, "-m", "mgral.cli", "return"]
    files = []
    for number, image in enumerate(batch.images):
        drawn = (AnswerBox("ant", (4.0, 5.0, 20.0, 30.0 + number), "manual"),)
        files.append(returned(batch, {image.id: [batches.said(image, "finished", drawn)]}, f"export-{number}"))
    started = [subprocess.Popen([*command, file, "--params", "p.yaml"], stdout=subprocess.DEVNULL) for file in files]
    assert [one.wait(60) for one in started] == [0] * len(files)
    names = [file["name"] for file in read_json(ANSWERS / "returned.json")["files"]]
    assert names == [f"00{number}-label_studio.json" for number in range(1, 7)]
    assert {(ANSWERS / name).read_bytes() for name in names} == {Path(file).read_bytes() for file in files}
    assert run("close") == 0
    assert labels() == 0
    assert sorted(dataset_json.read("next.json").boxes) == [1, 2, 3, 4, 5, 6, 7, 9, 10]
