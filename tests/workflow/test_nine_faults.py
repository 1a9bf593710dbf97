"""What broke when people annotated a batch and imported it again, before people could be the oracle: nine faults.

By weight for users, one test each. Each failed before there were ``mgral register`` and ``oracle: people``, or with the
importers of then.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import batches
import numpy as np
import pytest
import yaml
from checkouts import ROOT, Checkout, duplicate
from partly_annotated import folder
from people import ANSWERS, ENTROPY, MINE, RUN, answer, batch_of, verb
from PIL import Image

from mgral import cli
from mgral.annotation import exchange, labels
from mgral.annotation.exchange import Answer, AnswerBox
from mgral.annotation.tools import label_studio
from mgral.config.annotation import AnnotationRules
from mgral.config.schema import DatasetParams
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.core.types import Dataset
from mgral.data import dataset_json, identity, importing
from mgral.data.pool import read_pool

pytestmark = pytest.mark.slow

RECORDED = ROOT / "tests/unit/annotation/recorded"
NUMBERED = [f"{number}.png" for number in range(1, 101)]


def imported(place: Path, **dataset: Any) -> Dataset:
    """Import the folder ``set`` again, over what is there."""
    given = {"format": "folder", "root": str(place / "set"), "options": {"annotations": "labels.json"}}
    given |= {"on_invalid": "fail", "splits": {"val": 0.2, "test": 0.2, "seed": 0}} | dataset
    (place / "p.yaml").write_text(yaml.safe_dump({"experiment": "mine", "dataset": given}))
    assert cli.main(["import", "--params", str(place / "p.yaml"), "--out", str(place / "dataset.json")]) == 0
    return dataset_json.read(place / "dataset.json")


def test_1_more_labels_move_no_image_to_another_split(tmp_path: Path) -> None:
    """Fault 1: with 20 labels more, 20 of the first 40 images changed split, and 10 of the new ones reached train."""
    folder(tmp_path / "set", NUMBERED, NUMBERED[:40])
    before = {image.file_name: image.split for image in imported(tmp_path).images.values()}
    assert {*before.values()} == {"train", "val", "test"}
    folder(tmp_path / "set", NUMBERED, NUMBERED[:60])
    after = imported(tmp_path)
    assert {image.file_name: image.split for image in after.images.values()} == before
    new = [image for image in after.images.values() if image.file_name in NUMBERED[40:60]]
    assert [image.split for image in new if image.id in after.boxes] == ["train"] * 20


def test_2_an_image_that_sorts_first_renumbers_no_other(tmp_path: Path) -> None:
    """Fault 2: one new name that sorts first shifted all ids, and every pool.json then meant other images."""
    names = [f"{chr(97 + number)}.png" for number in range(20)]
    folder(tmp_path / "set", names, names)
    before = imported(tmp_path)
    given = {"budget": {"initial": 5, "batch": 1}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(given))
    files = ["--dataset", str(tmp_path / "dataset.json"), "--out", str(tmp_path / "pool.json")]
    assert cli.main(["pool", "--params", str(tmp_path / "pool.yaml"), *files, "--seed", "0"]) == 0

    folder(tmp_path / "set", ["0 first.png", *names], ["0 first.png", *names])
    after = imported(tmp_path)
    assert len(after.images) == len(before.images) + 1
    pool = read_pool(tmp_path / "pool.json", after)
    for i in (*pool.labelled, *pool.unlabelled):
        assert after.images[i] == before.images[i]


def test_3_a_new_label_trains_its_own_cycle_alone(waiting: Checkout, tmp_path: Path) -> None:
    """Fault 3: every rule read the one dataset.json, so one box more wanted 96 jobs."""
    project = duplicate(waiting, tmp_path / "project")
    answer(project, 0)
    verb(project, "close")
    jobs = project.plan(params=MINE)
    assert jobs["labels"] == jobs["annotate"] == jobs["train"] == 1
    assert not {"import_data", "cache", "pool", "share_detector", "share_evidence"} & jobs.keys()
    assert jobs["embed"] == jobs["select"] == jobs["export"] == 1


def test_4_a_run_that_waits_has_curve_and_report(second: Checkout) -> None:
    """Fault 4: curve and report demanded all three cycles, so a run that waited for people ended with an error."""
    assert yaml.safe_load((second.root / MINE).read_text())["cycles"] == 3
    text = second.snakemake(params=MINE)  # it ends with status 0
    assert "Nothing to be done" in text
    assert "waiting for people: batch" in text
    curve = (second.root / RUN / "curve.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in curve[1:]] == ["0", "1"]
    assert "<html" in (second.root / RUN / "report.html").read_text()


def test_5_an_image_that_cannot_be_labelled_stops_nothing(second: Checkout) -> None:
    """Fault 5: a batch was done when all its images had labels; one that nobody can label stopped the loop for good."""
    _, cannot, *_ = batch_of(second, 0).images
    after = dataset_json.read(second.root / f"{ENTROPY}/cycle-1/dataset.json")
    assert cannot.id not in after.boxes
    pool = read_pool(second.root / f"{ENTROPY}/cycle-1/pool.json", after)
    assert cannot.id not in {*pool.labelled, *pool.unlabelled, *pool.resting}
    assert cannot.id not in {image.id for image in batch_of(second, 1).images}
    assert (second.root / f"{ENTROPY}/cycle-1/metrics.json").exists()


RESULT = "../export/result.json"


@pytest.mark.parametrize(
    ("export", "of", "given"),
    [
        ("label_studio-1.23.2-coco", "set", {"format": "coco", "options": {"annotations": RESULT, "images": "."}}),
        ("label_studio-1.23.2-coco", "set", {"format": "folder", "options": {"annotations": RESULT}}),
        ("label_studio-1.23.2-voc", "export", {"format": "voc", "options": {"images": "images"}}),
        ("datumaro-1.13.12-voc", "export", {"format": "voc", "options": {}}),
        ("datumaro-1.13.12-yolo", "export", {"format": "yolo", "options": {}}),
    ],
)
def test_6_exports_of_the_tools_come_in_at_their_place(export: str, of: str, given: Any, tmp_path: Path) -> None:
    """Fault 6: Label Studio's COCO was refused for its ``../``, VOC files were off by a pixel, CVAT's YOLO was refused.

    The exports were made by the tools; CVAT writes VOC and YOLO as datumaro does.
    """
    place = tmp_path / "recwork"  # the server's document root when the exports were made
    batches.images(place / "set")
    with zipfile.ZipFile(RECORDED / f"{export}.zip") as archive:
        archive.extractall(place / "export")
    splits = {"val": 0, "test": 0, "seed": 0}
    params = {"root": str(place / of), "on_invalid": "fail", "splits": splits, **given}
    dataset, _ = importing.import_dataset(DatasetParams.parse(params, "dataset"))
    assert len(dataset.boxes) == (3 if "datumaro" in export else 6)
    firsts, seconds = (np.array([boxes.xyxy[k] for boxes in dataset.boxes.values()]) for k in (0, 1))
    assert {dataset.classes[boxes.labels[1]] for boxes in dataset.boxes.values()} == {"ant"}
    if export == "label_studio-1.23.2-voc":  # it cuts to whole numbers: 40.5 to 40, and 2.9999999 to 2
        assert np.median(firsts[:, [0, 1, 3]], axis=0).tolist() == [3, 4, 30]
        assert np.median(seconds, axis=0).tolist() == [30, 8, 50, 40]
        return
    assert firsts[:, [0, 1, 3]] == pytest.approx(np.array([[3, 4, 30]] * len(firsts)), abs=0.001)
    assert seconds == pytest.approx(np.array([[30, 8, 50, 40.5]] * len(seconds)), abs=0.001)


def test_7_labelled_images_are_not_asked_again_and_labels_replace(waiting: Checkout, tmp_path: Path) -> None:
    """Fault 7: labelled images beyond budget.initial were asked for again; appended labels doubled 19 boxes to 38."""
    begun = dataset_json.read(waiting.root / RUN / "dataset/dataset.json")
    assert not begun.boxes.keys() & {image.id for image in batch_of(waiting, 0).images}
    project = duplicate(waiting, tmp_path / "project")
    project.edit(MINE, "initial: all", "initial: 2")
    text = project.snakemake("--dry-run", params=MINE, fails=True)
    assert "budget.initial: with oracle: people, set all" in text

    project.edit(MINE, "initial: 2", "initial: all")
    again = next(image for image in begun.images.values() if image.split == "train" and image.id in begun.boxes)
    assert len(begun.boxes[again.id])
    sha = identity.sha256_of(project.root / "mine" / again.file_name)
    answer(project, 0, unasked=[exchange.BatchImage(again.id, again.file_name, again.width, again.height, sha, 5)])
    verb(project, "close")
    files = ["--dataset", f"{RUN}/dataset/dataset.json", "--out", "back/labels.json", "--out-dataset", "back/next.json"]
    project.call("mgral", "labels", "--closed", f"{ANSWERS}/cycle-0/closed.json", *files)
    after = dataset_json.read(project.root / "back/next.json")
    assert len(after.boxes[again.id]) == len(begun.boxes[again.id])
    assert len(after.boxes) == len(begun.boxes) + len(batch_of(project, 0).images)


def test_8_an_image_turned_by_exif_has_the_size_that_people_see(tmp_path: Path) -> None:
    """Fault 8: the importer took the stored 640 x 480 of an image with orientation 6, the tool returned 480 x 640."""
    (tmp_path / "set").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (640, 480), (9, 9, 9)).save(tmp_path / "set/turned.jpg", exif=exif)
    (image,) = imported(tmp_path, options={"classes": ["ant"]}, splits={"val": 0, "test": 0, "seed": 0}).images.values()
    assert (image.width, image.height) == (480, 640)
    sha = identity.sha256_of(tmp_path / "set/turned.jpg")
    asked = exchange.BatchImage(image.id, image.file_name, image.width, image.height, sha, 1)
    batch = exchange.Batch("mine", 0, ("ant",), tmp_path / "set", (asked,))
    said = Answer("turned.jpg", "finished", (AnswerBox("ant", (400.0, 500.0, 470.0, 630.0)),), who="1")
    label_studio.respond(batch, {image.id: [said]}, tmp_path / "back")  # with original_width 480, as in the real tool
    returned = label_studio.read(exchange.sources(tmp_path / "back"), batch, label_studio.Options())
    outcome = labels.settle(batch, [], [("back", returned)], batch.classes, {}, AnnotationRules())
    assert [box.xyxy for box in outcome.images[image.id].boxes] == [(400, 500, 470, 630)]


def test_9_images_behind_links_are_taken_where_links_are_followed(tmp_path: Path) -> None:
    """Fault 9: images behind symbolic links (DVC, git-annex) were refused as leaving the image root, without a way."""
    folder(tmp_path / "store", NUMBERED[:6], NUMBERED[:6])
    (tmp_path / "set").mkdir()
    for name in NUMBERED[:6]:
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    shutil.copy(tmp_path / "store/labels.json", tmp_path / "set/labels.json")
    given = {"format": "folder", "root": str(tmp_path / "set"), "options": {"annotations": "labels.json"}}
    given |= {"on_invalid": "fail", "splits": {"val": 0.2, "test": 0.2, "seed": 0}}
    with pytest.raises(MgralError, match="links: follow"):
        importing.import_dataset(DatasetParams.parse(given, "dataset"))
    followed = DatasetParams.parse({**given, "links": "follow"}, "dataset")
    register, _, _ = importing.register(followed, "mine", None, 0)
    assert [image.sha256 for image in register.images] == [
        identity.sha256_of(tmp_path / "store" / image.file_name) for image in register.images
    ]
    dataset, _ = importing.import_dataset(followed, register.known())
    asked = [
        exchange.BatchImage(one.id, one.file_name, one.width, one.height, one.sha256, rank)
        for rank, one in enumerate(register.images, start=1)
    ]
    batch = exchange.Batch("mine", 0, dataset.classes, dataset.root, tuple(asked))
    cvat = plugins.load("annotators", "cvat")
    files = cvat.export(batch, tmp_path / "batch", cvat.Options())
    pictures = [path for path in files if path.suffix == ".png"]
    assert [identity.sha256_of(path) for path in pictures] == [image.sha256 for image in asked]
    assert not any(path.is_symlink() for path in pictures)  # the folder can be sent elsewhere
