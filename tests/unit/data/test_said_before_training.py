"""What `mgral check --data` and `mgral register` say of images that nobody annotated, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image as Picture

from mgral import cli


def yolo(root: Path) -> None:
    """Ten images, six of them with a label file."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for i in range(10):
        Picture.new("RGB", (40, 40), (i, 0, 0)).save(root / f"images/{i}.png")
    for i in range(6):
        (root / f"labels/{i}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (root / "data.yaml").write_text("names: [ant]\n")


def voc(root: Path) -> None:
    """Ten images, six of them with an XML file."""
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    box = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    for i in range(10):
        Picture.new("RGB", (40, 40), (i, 0, 0)).save(root / f"JPEGImages/{i}.png")
    for i in range(6):
        text = f"<annotation><filename>{i}.png</filename><object><name>ant</name>{box}</object></annotation>"
        (root / f"Annotations/{i}.xml").write_text(text)


@pytest.mark.parametrize(
    ("make", "keys", "left", "says"),
    [
        (yolo, {"format": "yolo"}, False, "note: 4 images have no label file and count as images without objects; set"),
        (
            yolo,
            {"format": "yolo", "options": {"missing": "unlabelled"}},
            True,
            "note: 4 images have no label file and wait in the pool",
        ),
        (voc, {"format": "voc"}, False, "note: 4 images that no annotation names stay outside, "),
        (voc, {"format": "voc", "unlisted": "pool"}, True, ""),
    ],
)
def test_images_without_annotations_are_noticed_before_training(
    make: Any, keys: dict[str, Any], left: bool, says: str, tmp_path: Path, monkeypatch: Any, capsys: Any, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    make(Path("set"))
    base = str(Path(__file__).resolve().parents[3] / "params/base.yaml")
    given = {
        "experiment": "mine",
        "oracle": "people",
        "seeds": [0],
        "strategies": ["entropy"],
        "budget": {"initial": "all", "batch": 2},
        "dataset": {"root": "set", **keys},
    }
    Path("p.yaml").write_text(yaml.safe_dump(given))
    params = ["--params", base, "p.yaml"]
    assert cli.main(["check", *params, "--data"]) == 0
    checked = capsys.readouterr().out
    assert f"next: mgral register --params {base} p.yaml" in checked
    assert cli.main(["register", *params]) == 0
    assert capsys.readouterr().out.startswith("next: snakemake --cores all --configfile ")
    assert says in checked and says in caplog.text
    assert ("all images of train count as annotated" in checked) != left
