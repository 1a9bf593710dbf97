"""Blanks and quotes in each path that a user chooses, and a user without a name or a home folder."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from checkouts import Checkout, copy_project
from nursery import Nursery
from PIL import Image

PLACE = 'it\'s "my" own & $HOME `id` (copy)'
PARAMS = 'params/cells\' "few" & $x.yaml'
ROOT = 'cells\' "raw" & $x'
NAMELESS = ("unshare", "--user", "--map-user=54321", "--map-group=54321", "env", "--unset=USER", "--unset=LOGNAME")
IMPORTED = "data/runs/cells/dataset/dataset.json"


def cells(project: Checkout, root: str = ROOT, params: str = PARAMS) -> None:
    """A small COCO data set in the copy, and an experiment with it."""
    folder = project.root / root
    (folder / "images").mkdir(parents=True)
    images = [{"id": i, "file_name": f'{i}\'s "&" $x.png', "width": 40, "height": 30} for i in range(1, 21)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 9, 9]} for i in range(1, 21)]
    for image in images:
        Image.new("RGB", (40, 30), (int(str(image["id"])), 0, 0)).save(folder / "images" / str(image["file_name"]))
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    experiment = {
        "experiment": "cells",
        "seeds": [0],
        "cycles": 2,
        "strategies": ["random"],
        "budget": {"initial": 4, "batch": 2},
        "image_size": 64,
        "training": {"steps": 6, "batch_size": 4, "warmup": 2},
        "proxy": {"kind": "unlabelled", "steps": 3, "batch_size": 4},
        "dataset": {"format": "coco", "root": root},
    }
    (project.root / params).write_text(yaml.safe_dump(experiment))


def test_blanks_and_quotes_in_every_path(tmp_path: Path, nursery: Nursery | None) -> None:
    project = copy_project(tmp_path / PLACE / "project", nursery)
    cells(project)
    project.call(
        "snakemake", "--cores", "2", "--configfile", PARAMS, "--", IMPORTED, "data/runs/cells/dataset/images.npy"
    )
    assert json.loads((project.root / IMPORTED).read_text())["info"]["image_root"].endswith(f"{ROOT}/images")

    text = project.call("snakemake", "--cores", "1", "--configfile", PARAMS, "--", "forecast")
    assert "jobs, from nothing" in text

    write = ("--force", "--drop-metadata", "--", "dvc.yaml")
    project.call("snakemake", "--configfile", PARAMS, "--cores", "1", *write)
    written = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stages = written["stages"]
    assert f"{ROOT}/annotations.json" in stages["dataset"]["deps"]
    command = written["vars"][0]["snakemake"]
    assert PARAMS in shlex.split(command)
    environment = {**project.environment, "SNAKEMAKE_ARGS": "--dry-run"}
    line = f"{command} {IMPORTED}"  # as DVC runs it, by a shell
    done = subprocess.run(
        line, shell=True, cwd=project.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.call("dvc", "init", "--quiet", "--force") is not None
    assert "dataset" in project.call("dvc", "stage", "list")


def namespaces() -> bool:
    try:
        done = subprocess.run([*NAMELESS, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not namespaces(), reason="no namespaces of users here (unshare)")
def test_a_user_without_a_name_or_a_home_folder(plain_project: Checkout, tmp_path: Path) -> None:
    project = plain_project
    cells(project, "cells", "params/cells.yaml")
    homeless = [*NAMELESS, "--unset=HOME"]
    asked = project.call(*homeless, "python", "-c", "import getpass; getpass.getuser()", fails=True)
    assert "54321" in asked  # it has no name indeed
    params = ["params/base.yaml", "params/cells.yaml"]
    project.call(*homeless, "mgral", "import", "--params", *params, "--out", "dataset.json")
    project.call(*homeless, "mgral", "cache", "--params", *params, "--dataset", "dataset.json", "--out", "images.npy")
    asked = project.call(*homeless, "mgral", "check", "--params", "params/base.yaml", "params/cells.yaml")
    assert "cells: 2 cycles" in asked
    home = [*NAMELESS, f"HOME={tmp_path}"]
    project.call(*home, "snakemake", "--cores", "1", "--configfile", "params/cells.yaml", "--", IMPORTED)
    assert (project.root / IMPORTED).exists()
