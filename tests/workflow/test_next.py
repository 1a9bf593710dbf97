"""Where an active-learning project begins: a folder of images, half of them annotated. Which are next?"""

from __future__ import annotations

import shutil

import pytest
import yaml
from checkouts import TINY, Checkout

from mgral.core.files import read_json, write_json

MINE = {
    "experiment": "mine",
    "cycles": 1,
    "strategies": ["random", "mgral"],
    "dataset": {"format": "folder", "root": "mine", "options": {"annotations": "../labels.json"}},
    "proxy": {"kind": "replay", "control": 0, "repeats": 0},
    "table": {"surrogate": "ridge"},
    "noise": {"repeats": 0},
}


@pytest.mark.slow
def test_the_next_batch_of_a_folder_that_is_annotated_in_part(project: Checkout):
    project.snakemake("--", "data/raw/tiny/annotations.json")
    raw = project.root / "data/raw/tiny"
    shutil.copytree(raw / "images", project.root / "mine")
    content = read_json(raw / "annotations.json")
    images = [{**image, "file_name": image["file_name"].removeprefix("images/")} for image in content["images"]]
    annotated = [{key: image[key] for key in image if key != "split"} for image in images if image["id"] % 2]
    known = {image["id"] for image in annotated}
    objects = [one for one in content["annotations"] if one["image_id"] in known]
    write_json(project.root / "labels.json", {**content, "images": annotated, "annotations": objects})
    tiny = yaml.safe_load((project.root / TINY).read_text())
    merged = {**tiny, **MINE, "proxy": {**tiny["proxy"], **MINE["proxy"]}}
    (project.root / "params/mine.yaml").write_text(yaml.safe_dump(merged))

    project.snakemake("--", "next", params="params/mine.yaml")
    run = project.root / "data/runs/mine"
    names = {image["id"]: image["file_name"] for image in read_json(run / "dataset/dataset.json")["images"]}
    with_labels = {image["file_name"] for image in annotated}
    pool = read_json(run / "shared/seed-0/cycle-0/pool.json")
    assert {names[entry["id"]] for entry in pool["labelled"]} <= with_labels
    waiting = {names[i] for i in pool["unlabelled"]}
    assert waiting > set(names.values()) - with_labels
    page = (run / "report.html").read_text()
    for strategy in MINE["strategies"]:
        assert f"{strategy}/seed-0/cycle-0/selected.json" in page
        picks = read_json(run / strategy / "seed-0/cycle-0/selected.json")["picks"]
        assert len({pick["file_name"] for pick in picks} & waiting) == tiny["budget"]["batch"]
    # the report follows the batches once there are any, so the target `all` has nothing to add
    assert "Nothing to be done" in project.snakemake("--dry-run", params="params/mine.yaml")
