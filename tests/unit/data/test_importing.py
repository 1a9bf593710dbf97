"""Formats on data sets small enough to work out by hand, and the canonical form on disk."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset
from mgral.core.types import Image as ImageEntry
from mgral.data import dataset_json, importing


def lay(root: Path, files: Mapping[str, str | tuple[int, int]]) -> Path:
    """Write text files, and images of a given size, below a root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        else:
            Image.new("RGB", content).save(path)
    return root


def load(
    root: Path, format: str, on_invalid: str = "fail", share: float = 0.0, **options: Any
) -> tuple[Dataset, dict[str, Any]]:
    """Import; ``share`` of the images is drawn for val, and as many for test, where the set brings none."""
    splits = {"val": share, "test": share, "seed": 0}
    given = {"format": format, "root": str(root), "options": options, "on_invalid": on_invalid, "splits": splits}
    return importing.import_dataset(DatasetParams.parse(given, "dataset"))


def xml(*objects: tuple[str, float, float, float, float], size: tuple[int, int] = (40, 30), difficult: int = 0) -> str:
    boxes = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{sides}{boxes}</annotation>"


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], classes: Mapping[int, str]) -> str:
    categories = [{"id": id, "name": name} for id, name in classes.items()]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def test_voc_corners_count_from_one_and_include_the_last_pixel(tmp_path: Path) -> None:
    # Pixels 1 … 40 and 1 … 30 are the whole image: (0, 0, 40, 30). Pixels 3 … 12 span 2 … 12, 10 pixels.
    lay(
        tmp_path,
        {"Annotations/a.xml": xml(("cat", 1, 1, 40, 30), ("ant", 3, 5, 12, 7.5)), "JPEGImages/a.jpg": (40, 30)},
    )
    dataset, info = load(tmp_path, "voc")
    assert dataset.classes == ("ant", "cat")
    assert dataset.boxes[1].xyxy.tolist() == [[0, 0, 40, 30], [2, 4, 12, 7.5]]
    assert dataset.boxes[1].labels.tolist() == [1, 0]
    assert info["clipped"] == 0
    continuous, _ = load(tmp_path, "voc", one_based=False)
    assert continuous.boxes[1].xyxy.tolist() == [[1, 1, 40, 30], [3, 5, 12, 7.5]]


def test_voc_lists_are_the_splits_and_what_they_leave_out_is_named(tmp_path: Path) -> None:
    stems = ["img_4", "img_2", "img_9", "img_7"]
    files: dict[str, Any] = {f"Annotations/{stem}.xml": xml(("cat", 1, 1, 9, 9)) for stem in stems}
    files |= {f"JPEGImages/{stem}.jpg": (40, 30) for stem in stems}
    lists = {"train": "img_9\nimg_2\n", "val": "img_4\n", "trainval": "img_7\n"}
    files |= {f"ImageSets/Main/{name}.txt": text for name, text in lists.items()}
    lay(tmp_path, files)
    dataset, info = load(tmp_path, "voc", share=0.25, splits={"train": "train", "val": "val", "test": "none"})
    # three images: the missing test split takes 0.25 * 3 = 0.75, rounded 1, of the train list
    assert list(dataset.images) == [2, 4, 9]
    assert dataset.images[4].split == "val"
    assert sorted(image.split for image in dataset.images.values()) == ["test", "train", "val"]
    assert info["splits_drawn"] == ["test"]
    assert info["unlisted"] == ["img_7.jpg"]


def test_voc_difficult_objects_are_ignored_and_an_image_without_objects_is_empty(tmp_path: Path) -> None:
    files = {
        "Annotations/a1.xml": xml(("cat", 1, 1, 9, 9), difficult=1),
        "Annotations/a2.xml": xml(),
        "JPEGImages/a1.png": (40, 30),
        "JPEGImages/a2.jpg": (40, 30),
    }
    dataset, _ = load(lay(tmp_path, files), "voc")
    assert dataset.boxes[1].ignore.tolist() == [True]
    assert len(dataset.boxes[2]) == 0
    assert dataset.images[1].file_name == "a1.png"


def test_yolo_lines_become_corners(tmp_path: Path) -> None:
    # 200 x 100: centre (0.5, 0.4) is (100, 40), sides 0.2 and 0.6 are 40 and 60: (80, 10, 120, 70)
    files = {
        "data.yaml": "names: {0: ant, 1: cat}\ntrain: images/train\nval: ../images/val\n",
        "images/train/a.jpg": (200, 100),
        "images/train/b.jpg": (200, 100),
        "images/val/c.jpg": (200, 100),
        "labels/train/a.txt": "1 0.5 0.4 0.2 0.6\n\n",
        "labels/val/c.txt": "",
    }
    dataset, info = load(lay(tmp_path, files), "yolo", share=0.25)
    assert dataset.classes == ("ant", "cat")
    assert dataset.boxes[1].xyxy.tolist() == [pytest.approx([80, 10, 120, 70])]
    assert dataset.boxes[1].labels.tolist() == [1]
    assert len(dataset.boxes[2]) == 0
    assert (dataset.images[3].file_name, dataset.images[3].split) == ("images/val/c.jpg", "val")
    assert info["splits_drawn"] == ["test"]


def test_yolo_without_a_data_file(tmp_path: Path) -> None:
    files = {
        "classes.txt": "ant\ncat\n",
        "images/train/a.jpg": (10, 10),
        "images/test/b.jpg": (10, 10),
        "labels/test/b.txt": "0 0.5 0.5 1 1",
    }
    with pytest.raises(MgralError, match="images/train: none of its 1 images has a label file"):
        load(lay(tmp_path, files), "yolo")
    unlabelled, _ = load(tmp_path, "yolo", missing="unlabelled")
    assert list(unlabelled.boxes) == [1]
    dataset, _ = load(tmp_path, "yolo", missing="empty")
    assert {image.file_name: image.split for image in dataset.images.values()} == {
        "images/test/b.jpg": "test",
        "images/train/a.jpg": "train",
    }
    assert dataset.boxes[1].xyxy.tolist() == [[0, 0, 10, 10]]


def test_yolo_lists_of_images(tmp_path: Path) -> None:
    files = {
        "data.yaml": "names: [ant]\ntrain: train.txt\n",
        "train.txt": "./images/b.jpg\nimages/a.jpg\n",
        "images/a.jpg": (10, 10),
        "images/b.jpg": (10, 10),
        "images/c.jpg": (10, 10),
        "labels/b.txt": "0 0.5 0.5 0.2 0.2",
    }
    dataset, info = load(lay(tmp_path, files), "yolo")
    assert [image.file_name for image in dataset.images.values()] == ["images/a.jpg", "images/b.jpg"]
    assert [len(boxes) for boxes in dataset.boxes.values()] == [0, 1]
    assert info["unlisted"] == ["images/c.jpg"]


def test_coco_keeps_ids_and_orders_classes_by_category_id(tmp_path: Path) -> None:
    images = [
        {"id": 30, "file_name": "a.jpg", "width": 40, "height": 30, "split": "train"},
        {"id": 7, "file_name": "b.jpg", "split": "test"},
    ]
    annotations = [
        {"id": 5, "image_id": 30, "category_id": 9, "bbox": [1, 2, 10, 20]},
        {"id": 6, "image_id": 30, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 1},
    ]
    text = coco(images, annotations, {9: "zebra", 3: "ant"})
    lay(tmp_path, {"annotations.json": text, "images/a.jpg": (40, 30), "images/b.jpg": (8, 6)})
    dataset, info = load(tmp_path, "coco")
    assert dataset.classes == ("ant", "zebra")
    assert list(dataset.images) == [7, 30]
    assert (dataset.images[7].width, dataset.images[7].height, dataset.images[7].split) == (8, 6, "test")
    # left 1, top 2, 10 wide, 20 high: right 11, bottom 22
    assert dataset.boxes[30].xyxy.tolist() == [[1, 2, 11, 22], [0, 0, 40, 30]]
    assert dataset.boxes[30].labels.tolist() == [1, 0]
    assert dataset.boxes[30].ignore.tolist() == [False, True]
    assert len(dataset.boxes[7]) == 0
    assert info["ids"] == "own"


def test_coco_with_one_file_per_split_and_ids_that_start_again(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        images = [{"id": 1, "file_name": "x.jpg", "width": 10, "height": 10}]
        annotations = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}]
        lay(tmp_path, {f"{split}.json": coco(images, annotations, {1: "ant"}), f"{split}2017/x.jpg": (10, 10)})
    splits = ("train", "val", "test")
    files, folders = {s: f"{s}.json" for s in splits}, {s: f"{s}2017" for s in splits}
    dataset, info = load(tmp_path, "coco", annotations=files, images=folders)
    # own ids clash, so images count in order of file name: test, train, val
    assert {i: image.split for i, image in dataset.images.items()} == {1: "test", 2: "train", 3: "val"}
    assert dataset.images[2].file_name == "train2017/x.jpg"
    assert [len(boxes) for boxes in dataset.boxes.values()] == [1, 1, 1]
    assert info["ids"] == "by file name"


def test_a_folder_without_annotations_is_all_pool(tmp_path: Path) -> None:
    lay(tmp_path, {"x/b.jpg": (10, 10), "a.png": (10, 10), "notes.txt": "no image"})
    dataset, _ = load(tmp_path, "folder", classes=["ant"])
    assert [image.file_name for image in dataset.images.values()] == ["a.png", "x/b.jpg"]
    assert dataset.ids("train") == [1, 2]
    assert dict(dataset.boxes) == {}


def test_a_partly_annotated_folder_draws_splits_from_the_annotated(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, 9)]
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 5, 5]} for i in range(1, 9)]
    lay(tmp_path, {"labelled.json": coco(images, annotations, {1: "ant"})})
    lay(tmp_path, {f"{i}.jpg": (10, 10) for i in range(1, 21)})
    dataset, _ = load(tmp_path, "folder", share=0.25, annotations="labelled.json")
    # 0.25 of the 8 annotated images: 2 and 2; the other 12 stay in the pool without boxes
    assert sorted(dataset.boxes) == list(range(1, 9))
    assert len(dataset.ids("val")) == len(dataset.ids("test")) == 2
    assert set(dataset.ids("train")) >= set(range(9, 21))
    dataset_json.write(dataset, {}, tmp_path / "out.json")
    assert sorted(dataset_json.read(tmp_path / "out.json").boxes) == list(range(1, 9))


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["img_07.jpg", "img_3.jpg"], [7, 3]),  # the digits that every stem ends in
        (["a1.jpg", "b1.jpg"], [1, 2]),  # not unique
        (["x0.jpg", "x1.jpg"], [1, 2]),  # ids begin at 1
        (["x5.jpg", "y.jpg"], [1, 2]),  # not in every stem
        (["x1234567890123456.jpg", "x5.jpg"], [1, 2]),  # 16 digits are no number to count by
        (["b9.jpg", "a.jpg"], [2, 1]),  # in order of name, not of the list
    ],
)
def test_ids_of_files(tmp_path: Path, names: list[str], ids: list[int]) -> None:
    lay(tmp_path, dict.fromkeys(names, (10, 10)))
    dataset, _ = load(tmp_path, "folder", classes=["ant"])
    assert {image.file_name: i for i, image in dataset.images.items()} == dict(zip(names, ids, strict=True))


def test_a_box_beyond_the_edge_by_at_most_a_pixel_is_clipped_and_counted(tmp_path: Path) -> None:
    # the second lies 1 px outside on the left (0 - 1 = -1) and 0.6 px on the right; the first is inside
    lay(tmp_path, {"Annotations/a.xml": xml(("cat", 1, 1, 9, 9), ("cat", 0, 3, 40.6, 9)), "JPEGImages/a.jpg": (40, 30)})
    dataset, info = load(tmp_path, "voc")
    assert dataset.boxes[1].xyxy.tolist() == [[0, 0, 9, 9], [0, 2, 40, 9]]
    assert info["clipped"] == 1


def test_drop_leaves_out_what_is_faulty_and_lists_it(tmp_path: Path) -> None:
    files = {
        "Annotations/a1.xml": xml(("cat", 1, 1, 9, 9), ("cat", 5, 5, 5, 9)),
        "Annotations/a2.xml": xml(("cat", 1, 1, 9, 9), ("cat", 2, 2, 9, 9)),
        "Annotations/a3.xml": xml(("cat", 1, 1, 9, 9)),
        "JPEGImages/a1.jpg": (40, 30),
        "JPEGImages/a3.jpg": (40, 30),
    }
    dataset, info = load(lay(tmp_path, files), "voc", "drop")
    assert list(dataset.images) == [1, 3]
    assert [len(boxes) for boxes in dataset.boxes.values()] == [1, 1]
    assert info["dropped"] == [
        {"file": "Annotations/a1.xml", "id": "object 2", "what": "box (5, 5, 5, 9) has no area"},
        {
            "file": "Annotations/a2.xml",
            "id": "image a2",
            "what": "'a2.jpg': image file is missing (with its 2 objects)",
        },
    ]


def test_an_image_in_two_splits_leaves_both_with_drop(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{n}.jpg", "split": s} for i, (n, s) in enumerate(["a-", "b-", "a+"], start=1)]
    for image in images:
        image["split"] = {"-": "train", "+": "test"}[image["split"]]
    lay(tmp_path, {"annotations.json": coco(images, [], {1: "ant"}), "images/a.jpg": (9, 9), "images/b.jpg": (9, 9)})
    dataset, info = load(tmp_path, "coco", "drop")
    assert [image.file_name for image in dataset.images.values()] == ["b.jpg"]
    assert [entry["what"] for entry in info["dropped"]] == ["image 'a.jpg' is in two splits (test and train)"]


def example() -> Dataset:
    """Three images: two objects of awkward float32 numbers, no object, not annotated."""
    boxes = Boxes(
        np.array([[7.68, 0.1, 53.76, 29.999998], [1 / 3, 2, 3, 4]], np.float32),
        np.array([1, 0]),
        np.array([False, True]),
    )
    images = {
        2: ImageEntry(2, "a.jpg", 60, 30, "train"),
        5: ImageEntry(5, "sub/ä.jpg", 60, 30, "val"),
        9: ImageEntry(9, "c.jpg", 60, 30, "train"),
    }
    return Dataset(("ant", "cat"), images, {2: boxes, 5: Boxes.empty()}, Path("data/raw/x"))


def test_the_canonical_form_round_trips_exactly(tmp_path: Path) -> None:
    dataset = example()
    dataset_json.write(dataset, {"format": "coco", "dropped": []}, tmp_path / "dataset.json")
    again = dataset_json.read(tmp_path / "dataset.json")
    assert (again.classes, again.images, again.root) == (dataset.classes, dataset.images, dataset.root)
    assert list(again.boxes) == [2, 5]
    assert np.array_equal(again.boxes[2].xyxy, dataset.boxes[2].xyxy)
    assert again.boxes[2].xyxy.dtype == np.float32
    assert again.boxes[2].labels.tolist() == [1, 0]
    assert again.boxes[2].ignore.tolist() == [False, True]
    info = json.loads((tmp_path / "dataset.json").read_text())["info"]
    assert info == {"format": "coco", "dropped": [], "image_root": "data/raw/x"}


def test_pycocotools_reads_the_canonical_form(tmp_path: Path) -> None:
    coco_tools = pytest.importorskip("pycocotools.coco")
    dataset_json.write(example(), {}, tmp_path / "dataset.json")
    with contextlib.redirect_stdout(io.StringIO()):
        api = coco_tools.COCO(str(tmp_path / "dataset.json"))
    assert api.getImgIds() == [2, 5, 9]
    assert [category["name"] for category in api.loadCats(api.getCatIds())] == ["ant", "cat"]
    first, second = api.loadAnns(api.getAnnIds(imgIds=[2]))
    # 53.76 - 7.68 = 46.08 wide, 30 - 0.1 = 29.9 high
    assert first["bbox"] == pytest.approx([7.68, 0.1, 46.08, 29.9], abs=1e-4)
    assert first["area"] == pytest.approx(46.08 * 29.9, abs=1e-2)
    assert (first["category_id"], first["iscrowd"], second["iscrowd"]) == (2, 0, 1)


def test_the_canonical_form_keeps_a_relative_image_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, {"set/JPEGImages/a.jpg": (40, 30), "set/Annotations/a.xml": xml(("cat", 1, 1, 9, 9))})
    monkeypatch.chdir(tmp_path)
    dataset, info = load(Path("set"), "voc")
    dataset_json.write(dataset, info, "dataset.json")
    assert json.loads(Path("dataset.json").read_text())["info"]["image_root"] == "set/JPEGImages"
    assert dataset_json.read("dataset.json").root == Path("set/JPEGImages")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("images", 0, "id"), 5, "image 5: id is used twice"),
        (("images", 0, "id"), 0, r"images\[0\].id: .*greater than or equal to 1"),
        (("images", 0, "split"), "dev", r"images\[0\].split: .*'train', 'val' or 'test'"),
        (("images", 0, "width"), 50, "annotation 1: .* is not inside image 2"),
        (("images", 0, "file_name"), "../a.jpg", "image 2: file name '../a.jpg' leaves the image root"),
        (("images", 0, "annotated"), False, "annotation 1: image 2 does not exist or is not annotated"),
        (("annotations", 1, "image_id"), 4, "annotation 2: image 4 does not exist"),
        (("annotations", 1, "category_id"), 3, "annotation 2: category 3 does not exist"),
        (("annotations", 0, "bbox"), [1, 2, 3], r"annotations\[0\].bbox\[3\]: missing"),
        (("annotations", 0, "bbox", 2), float("nan"), r"annotations\[0\].bbox\[2\]: .*finite"),
        (("annotations", 0, "bbox", 2), 0.0, "annotation 1: .* is not inside image 2"),
        (("categories", 0, "id"), 3, "categories: ids do not count from 1"),
        (("categories", 0, "name"), "a\nb", r"categories: 'a\\nb' is no name of one line"),
        (("images", 0, "id"), 2**63, r"images\[0\].id: "),
        (("images", 0, "width"), 10**30, r"images\[0\].width: "),
        (("images", 0, "since"), 10**30, r"images\[0\].since: "),
        (("info", "note"), "\ud800", "holds half a character"),
        (("info", "tiling"), {"size": 9, "overlap": 9, "visible": 0.5}, "info.tiling: overlap 9 is not below size 9"),
        (("info", "image_root"), None, "info.image_root: .*string"),
    ],
)
def test_a_damaged_canonical_file_is_refused(tmp_path: Path, where: tuple[Any, ...], value: Any, message: str) -> None:
    path = tmp_path / "dataset.json"
    dataset_json.write(example(), {}, path)
    content = json.loads(path.read_text())
    group = content
    for key in where[:-1]:
        group = group[key]
    group[where[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises(MgralError, match=message) as caught:
        dataset_json.read(path)
    assert str(caught.value).startswith(str(path))
    assert "mgral import" in str(caught.value)
    assert "\n" not in str(caught.value)
