"""A user's data set at the beginning of a run: judged before anything is trained, and again when it changes."""

from __future__ import annotations

import json
import shlex

import yaml
from checkouts import Checkout
from PIL import Image


def test_a_budget_that_the_pool_does_not_meet_ends_the_run_at_the_import(project: Checkout):
    """tiny.yaml: 40 images, 12 at first and 4 a batch. A change of cycles imports nothing again, and is refused too."""
    more = "params/more.yaml"
    few, many, imported = "cycles: 8\n", "cycles: 9\n", "data/runs/tiny/dataset/dataset.json"
    (project.root / more).write_text(many)
    says = "budget.initial 12 and 8 batches of 4 need 44 images, but train has 40; lower the budget or cycles"
    answer = project.snakemake(more, "--", imported, fails=True)
    assert f"mgral: data/raw/tiny: {says}" in answer
    assert not (project.root / imported).exists()
    (project.root / more).write_text(few)  # 12 and 7 batches are all 40
    pool = "data/runs/tiny/shared/seed-0/cycle-0/pool.json"
    project.snakemake(more, "--", pool)
    (project.root / more).write_text(many)
    assert f"{pool}: {says}" in project.snakemake(more, "--dry-run", "--", pool, fails=True)
    (project.root / more).write_text(few)
    assert "Nothing to be done" in project.snakemake(more, "--dry-run", "--", pool)


def test_doubts_about_the_data_reach_the_terminal(project: Checkout):
    root = project.root / "cells"
    root.mkdir()
    images = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(1, 11)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 9, 9]} for i in range(1, 11)]
    for i in range(1, 11):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(root / f"{i}.png")
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    (root / "annotations.json").write_text(json.dumps(content))
    (project.root / "params/cells.yaml").write_text(
        "experiment: cells\nproxy: {kind: unlabelled}\nbudget: {initial: 2, batch: 2}\n"
        "dataset: {format: coco, root: cells, options: {images: .}}\n"
    )
    answer = project.snakemake("--", "data/runs/cells/dataset/dataset.json", params="params/cells.yaml")
    assert "warning: train: no boxes of b: such a class cannot be learnt" in answer


def test_a_changed_data_set_is_imported_again(project: Checkout):
    root = project.root / "blood"
    annotation = (
        "<annotation><filename>1.jpg</filename><size><width>40</width><height>30</height></size><object>"
        "<name>cell</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    for name in ("ImageSets/Main", "JPEGImages", "../notes"):
        (root / name).mkdir(parents=True)
    (root / "Annotations").symlink_to("../notes")
    (root / "ring").symlink_to("../blood")
    for number, split in enumerate(("train", "val", "test"), start=1):
        (root / f"Annotations/{number}.xml").write_text(annotation.replace("1.jpg", f"{number}.jpg"))
        (root / f"ImageSets/Main/{split}.txt").write_text(f"{number}\n")
        Image.new("RGB", (40, 30), (number, 0, 0)).save(root / f"JPEGImages/{number}.jpg")
    blood = "params/blood's own & more.yaml"
    (project.root / blood).write_text(
        "experiment: blood\nstrategies: [random]\ncycles: 1\nbudget: {initial: 1}\nproxy: {kind: unlabelled}\n"
        "dataset: {format: voc, root: blood, links: follow}\n"
    )
    imported = "data/runs/blood/dataset/dataset.json"
    project.snakemake("--", imported, params=blood)
    assert not project.plan(imported, params=blood)
    (root / "Annotations/1.xml").write_text(annotation.replace("<xmax>20", "<xmax>21"))
    assert project.plan(imported, params=blood) == {"import_data": 1}
    (root / "Annotations/1.xml").write_text(annotation)
    assert not project.plan(imported, params=blood)
    Image.new("RGB", (40, 30), "red").save(root / "JPEGImages/1.jpg", quality=95)  # of another size in bytes
    assert project.plan(imported, params=blood) == {"import_data": 1}
    dvc = project.call(
        "snakemake", "--configfile", blood, "--force", "--drop-metadata", "--cores", "1", "--", "dvc.yaml"
    )
    written = yaml.safe_load((project.root / "dvc.yaml").read_text())
    dataset = written["stages"]["dataset"]
    assert {"blood/Annotations", "blood/ImageSets"} < set(dataset["deps"]), dvc
    assert {blood: None} in dataset["params"]
    assert f"--configfile {blood} --" in " ".join(shlex.split(written["vars"][0]["snakemake"]))
