"""A run that people answer, and what its tests do with it; the runs themselves are fixtures of conftest.py."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from checkouts import TINY, Checkout, copy_project
from nursery import Nursery

from mgral.annotation import exchange, simulated
from mgral.annotation.exchange import Answer, Batch
from mgral.annotation.tools import label_studio
from mgral.config.annotation import AnnotatorNoise
from mgral.core.files import read_json, write_json
from mgral.core.types import Dataset
from mgral.data import dataset_json

MINE = "params/mine.yaml"
RUN = "data/runs/mine"
ENTROPY = f"{RUN}/entropy/seed-0"
ANSWERS = "data/annotations/mine"


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


def answer(
    checkout: Checkout,
    cycle: int,
    more: dict[int, list[Answer]] | None = None,
    unasked: Sequence[exchange.BatchImage] = (),
) -> None:
    """Simulated people without faults answer the batch of a cycle, in a file of Label Studio.

    Args:
        checkout: whose run asks.
        cycle: of the batch.
        more: answers in place of theirs, by image.
        unasked: images that they answer as well.
    """
    batch = batch_of(checkout, cycle)
    whole = replace(batch, images=(*batch.images, *unasked), plan=None)
    said = simulated.answers(whole, truth(checkout).boxes, 1, AnnotatorNoise(seconds=10), seed=0)
    label_studio.respond(whole, {**said, **(more or {})}, checkout.root / "back")
    export = checkout.root / "back/export.json"
    export.write_text(export.read_text().replace(whole.id, batch.id))
    verb(checkout, "return", "back/export.json")


def state(checkout: Checkout, *folders: str) -> dict[str, tuple[int, bytes]]:
    """Time and content of all files of some folders below the run."""
    paths = [path for folder in folders for path in (checkout.root / RUN / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(checkout.root)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def start(folder: Path, nursery: Nursery | None) -> None:
    """A run whose first batch waits for people, of a folder that is annotated in part."""
    project = copy_project(folder, nursery)
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
    assert f"waiting for people after cycle 0: this run makes its batch, in {ENTROPY}/cycle-0/batch\n" in text


def go_on(project: Checkout) -> None:
    """Close the first batch of a run that waits, one image skipped and one that cannot be labelled, and go on."""
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
