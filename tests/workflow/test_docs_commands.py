"""The commands of docs/own-images.md, and the examples of cheap verbs, run as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from checkouts import ROOT, Checkout

from mgral.annotation import exchange
from mgral.annotation.tools import label_studio
from mgral.cli import _examples
from mgral.core.files import read_json, write_json

CHEAP = ("pool", "subset", "annotate", "select", "curve", "compare", "list", "show", "sample-batches")
SMALL = {"image_size": 64, "training": {"steps": 6, "batch_size": 4, "warmup": 2}}


def console(page: str) -> list[str]:
    """The commands of a page that this file says it runs."""
    marked = rf"<!-- run by tests/workflow/{Path(__file__).name} -->\n```console\n(.*?)```"
    blocks = re.findall(marked, (ROOT / page).read_text(), re.DOTALL)
    assert blocks, f"{page}: no block of commands names this file"
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]


def own_images(project: Checkout) -> None:
    """A folder of generated images, every second one annotated, where params/own.yaml expects it."""
    project.call("mgral", "generate", "--params", "params/base.yaml", "params/tiny.yaml", "--out", "data/raw/own")
    content = read_json(project.root / "data/raw/own/annotations.json")
    (project.root / "data/raw/own/annotations.json").unlink()
    annotated = [{key: i[key] for key in i if key != "split"} for i in content["images"] if i["id"] % 2]
    images = [{**i, "file_name": f"images/{i['file_name']}"} for i in annotated]
    known = {image["id"] for image in images}
    objects = [one for one in content["annotations"] if one["image_id"] in known]
    write_json(project.root / "data/raw/own/labels.json", {**content, "images": images, "annotations": objects})
    path = project.root / "params/own.yaml"
    given = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**given, **SMALL, "budget": {"initial": "all", "batch": 4}}))


@pytest.mark.slow
def test_own_images_from_a_folder_to_the_second_batch(project: Checkout) -> None:
    """Every command of the page, in its order; Label Studio is played by its plug-in, which writes the export."""
    own_images(project)
    run = project.root / "data/runs/own/adaptive/seed-0"
    for command in console("docs/own-images.md"):
        if command.startswith("mgral return"):
            annotate(run / "cycle-0/batch/manifest.json", project.root)
        project.call(*shlex.split(command.replace("--cores all", "--cores 2")))
    annotated = {image["file_name"] for image in read_json(project.root / "data/raw/own/labels.json")["images"]}
    batches = [read_json(run / f"cycle-{cycle}/selected.json")["picks"] for cycle in (0, 1)]
    names = [pick["file_name"] for picks in batches for pick in picks]
    assert len(names) == len(set(names)) == 8
    assert not set(names) & annotated


def annotate(manifest: Path, folder: Path) -> None:
    """Write export.json, in which one person gave each image of a batch one box."""
    batch = exchange.read_batch(manifest)
    box = exchange.AnswerBox(batch.classes[0], (4.0, 4.0, 20.0, 20.0), "manual")
    said = {i.id: [exchange.Answer(i.export_name, "finished", (box,), who="1", seconds=9.0)] for i in batch.images}
    label_studio.respond(batch, said, folder)


@pytest.mark.slow
@pytest.mark.parametrize("verb", CHEAP)
def test_examples_of_cheap_verbs_run(verb: str, checkout: Checkout) -> None:
    """With files and parameters of the small run; those that name files of replay, which it lacks, are left out."""
    (checkout.root / "params/entropy.yaml").write_text("strategies: [entropy, mgral]")
    added = "params/tiny.yaml params/entropy.yaml" if verb == "select" else "params/tiny.yaml"
    ran = 0
    for example in _examples.of(verb):
        command = example.replace("data/runs/demo", "data/runs/tiny")
        words = shlex.split(re.sub(r"params/base\.yaml(?! params/)", f"params/base.yaml {added}", command))
        if all((checkout.root / word).exists() for word in words if word.startswith("data/runs/")):
            checkout.call(*words)
            ran += 1
    assert ran
