"""What holds for every data-set format; a new one is found by its name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from mgral.config.base import Settings
from mgral.config.schema import DatasetParams
from mgral.core import plugins
from mgral.core.errors import MgralError
from mgral.data import dataset_json, importing
from mgral.data.faults import Findings
from mgral.data.formats import synthetic
from mgral.data.raw import Source

FORMATS = plugins.names("formats")


def _coco(root: Path) -> None:
    images = [
        {"id": i, "file_name": f"{i}.png", "split": split} for i, split in ((1, "train"), (2, "val"), (3, "test"))
    ]
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 4, 5.5]}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (root / "annotations.json").write_text(json.dumps(content))
    (root / "images").mkdir()
    for i in (1, 2, 3):
        Image.new("RGB", (20, 10)).save(root / "images" / f"{i}.png")


def _voc(root: Path) -> None:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for stem, split in (("1", "train"), ("2", "val"), ("3", "test")):
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9.5</xmax><ymax>10</ymax></bndbox>"
        (root / f"Annotations/{stem}.xml").write_text(
            f"<annotation><object><name>cat</name>{box}</object></annotation>"
        )
        (root / f"ImageSets/Main/{split}.txt").write_text(stem)
        Image.new("RGB", (20, 10)).save(root / f"JPEGImages/{stem}.jpg")


def _yolo(root: Path) -> None:
    (root / "classes.txt").write_text("cat\n")
    for stem, split in (("1", "train"), ("2", "val"), ("3", "test")):
        (root / f"images/{split}").mkdir(parents=True)
        (root / f"labels/{split}").mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(root / f"images/{split}/{stem}.jpg")
        (root / f"labels/{split}/{stem}.txt").write_text("0 0.51 0.49 0.33 0.21\n")


def _folder(root: Path) -> None:
    _coco(root)
    Image.new("RGB", (20, 10)).save(root / "images/4.png")


def _synthetic(root: Path) -> None:
    synthetic.generate(root, synthetic.Options(train=3, val=1, test=1, size=32))


def _table(root: Path) -> None:
    _coco(root)
    lines = ['1.png,train,"cat, small",2,3,6,8.5', "2.png,val,,,,,", "3.png,test,,,,,"]
    (root / "boxes.csv").write_text("\n".join(["file,split,label,x1,y1,x2,y2", *lines]))


EXAMPLES: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "coco": (_coco, {}),
    "voc": (_voc, {}),
    "yolo": (_yolo, {}),
    "folder": (_folder, {"images": "images", "annotations": "annotations.json"}),
    "synthetic": (_synthetic, {}),
    "table": (_table, {}),  # of examples/plugins, see test_docs_examples.py
}
"""A small sound data set of each format, and the options that read it."""


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plugin(format: str) -> ModuleType:
    return plugins.load("formats", format)


def _params(format: str, root: Path, options: dict[str, str]) -> DatasetParams:
    splits = {"val": 0.0, "test": 0.0, "seed": 0}
    given = {"format": format, "root": str(root), "options": options, "on_invalid": "fail", "splits": splits}
    return DatasetParams.parse(given, "dataset")


def test_it_explains_itself(plugin: ModuleType) -> None:
    assert plugin.__doc__
    assert plugin.read.__doc__
    assert issubclass(plugin.Options, Settings)
    assert plugin.Options.__doc__
    for key, field in plugin.Options.model_fields.items():
        assert field.description, f"{key} has no description"
        assert not field.is_required(), f"{key} has no default"
    assert list(inspect.signature(plugin.read).parameters) == ["root", "options", "report"]


def test_an_unknown_option_is_refused_with_the_valid_ones(plugin: ModuleType) -> None:
    with pytest.raises(MgralError, match=r"dataset.options.imgaes: unknown key; .*valid: "):
        plugin.Options.parse({"imgaes": "x"}, "dataset.options")


def test_an_empty_folder_is_refused_in_one_line(format: str, tmp_path: Path) -> None:
    with pytest.raises(MgralError) as caught:
        importing.import_dataset(_params(format, tmp_path, {}))
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_it_reads_a_source_and_the_canonical_form_keeps_it(format: str, plugin: ModuleType, tmp_path: Path) -> None:
    assert format in EXAMPLES, "give the new format a small example here"
    make, options = EXAMPLES[format]
    root = tmp_path / "set"
    root.mkdir()
    make(root)
    source = plugin.read(root, plugin.Options.parse(options, "options"), Findings(root))
    assert isinstance(source, Source)

    dataset, info = importing.import_dataset(_params(format, root, options))
    dataset_json.write(dataset, info, tmp_path / "dataset.json")
    again = dataset_json.read(tmp_path / "dataset.json")
    assert (again.classes, again.images, again.root) == (dataset.classes, dataset.images, dataset.root)
    assert list(again.boxes) == list(dataset.boxes)
    for i, boxes in dataset.boxes.items():
        assert np.array_equal(again.boxes[i].xyxy, boxes.xyxy)
        assert again.boxes[i].labels.tolist() == boxes.labels.tolist()
        assert again.boxes[i].ignore.tolist() == boxes.ignore.tolist()


def test_what_it_yields_keeps_the_promises_of_the_types(format: str, tmp_path: Path) -> None:
    make, options = EXAMPLES[format]
    make(tmp_path)
    dataset, info = importing.import_dataset(_params(format, tmp_path, options))
    assert list(dataset.images) == sorted(dataset.images)
    assert min(dataset.images) >= 1
    assert {image.split for image in dataset.images.values()} == {"train", "val", "test"}
    assert sum(len(boxes) for boxes in dataset.boxes.values()) > 0
    for i, image in dataset.images.items():
        assert image.id == i
        with Image.open(dataset.root / image.file_name) as picture:
            assert picture.size == (image.width, image.height)
        boxes = dataset.boxes.get(i)
        if boxes is None or not len(boxes):
            continue
        assert (boxes.xyxy.dtype, boxes.labels.dtype, boxes.ignore.dtype) == (np.float32, np.int64, np.bool_)
        assert (boxes.xyxy >= 0).all()
        assert (boxes.xyxy[:, :2] < boxes.xyxy[:, 2:]).all()
        assert (boxes.xyxy[:, 2:] <= [image.width, image.height]).all()
        assert set(boxes.labels.tolist()) <= set(range(len(dataset.classes)))
    assert {"format", "image_root", "dropped", "clipped"} <= info.keys()
