"""Image files that change between registration, the batch and its answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batches
import pytest
import yaml
from PIL import Image as Pillow

from mgral import cli
from mgral.annotation import asking, exchange
from mgral.annotation.tools import label_studio
from mgral.config.annotation import Shown
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Image, Pick
from mgral.data.selection import Selection


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: Pillow.new("RGB", (9, 7)).save(path), "9 x 7 pixels, not 16 x 12 as in the data set; restore"),
        (Path.unlink, "cannot be read (No such file or directory); restore the file"),
        (cut, "cannot be read (no image file); restore the file"),
        (lambda path: path.write_bytes(b""), "cannot be read (no image file); restore the file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read (Is a directory); restore the file"),
    ],
)
def test_people_are_not_asked_about_a_replaced_file(change: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    Pillow.new("RGB", (16, 12)).save(tmp_path / "1.png")
    dataset = Dataset(("ant",), {1: Image(1, "1.png", 16, 12, "train")}, {}, tmp_path)
    selection = Selection("random", "random", 0, 0, 1, [Pick(1, 1.0, {})])
    asking.make_batch(dataset, selection, None, "mine", Shown())
    change(tmp_path / "1.png")
    with pytest.raises(MgralError) as error:
        asking.make_batch(dataset, selection, None, "mine", Shown())
    assert says in str(error.value) and "1.png: image 1" in str(error.value)


def test_answers_about_another_picture_than_was_registered_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    batch = batches.batch(Path("set"), batches.images(Path("set")))
    manifest = Path("manifest.json")
    exchange.write_batch(batch, manifest)
    given = {"experiment": batch.experiment, "seeds": [0], "strategies": ["random"], "oracle": "people"}
    Path("p.yaml").write_text(yaml.safe_dump(given | {"annotation": {}}))
    images = [
        {"id": im.id, "sha256": im.sha256, "file_name": im.file_name, "width": im.width, "height": im.height}
        | {"split": "train", "since": 0}
        for im in batch.images
    ]
    annotations = Path("data/annotations") / batch.experiment
    register = annotations / "images.json"
    register.parent.mkdir(parents=True)
    said = {im.id: [batches.said(im, "finished", ())] for im in batch.images}
    label_studio.respond(batch, said, Path("back"))
    words = ["return", "back/export.json", "--params", "p.yaml", "--manifest", str(manifest)]
    content = {"experiment": batch.experiment, "ids": "own", "splits_drawn": [], "images": images}
    for changed in ([{**images[0], "sha256": "0" * 64}, *images[1:]], images[1:]):
        register.write_text(json.dumps(content | {"images": changed}))
        assert cli.main(words) == 2
        error = capsys.readouterr().err
        assert f"image {images[0]['id']} " in error and f"is not the one that batch {batch.id} asks about" in error
        assert not list(annotations.glob("*/returned.json"))
    register.write_text(json.dumps(content))
    assert cli.main(words) == 0
