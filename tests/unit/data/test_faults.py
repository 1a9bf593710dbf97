"""Malformed data sets: each ends in one line that names the place and the remedy, never in a traceback."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.data import importing

Change = Callable[[Path], None]
"""Spoils a sound data set in place."""

XML = (
    "<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height></size><object><name>cat</name>"
    "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"
)
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE bomb [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>'
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/hostname">]><annotation>&secret;</annotation>'


def sound(root: Path, format: str) -> None:
    """A data set without fault: images a, c (train) and b (val), 40 x 30, an animal in a and b."""
    names = {"voc": "JPEGImages/{}.jpg", "yolo": "images/{}.jpg", "coco": "images/{}.jpg", "folder": "{}.jpg"}
    for name in "abc":
        path = root / names[format].format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 30), 80).convert("RGB").save(path)
    if format == "voc":
        write("Annotations/a.xml", XML)(root)
        write("Annotations/b.xml", XML.replace("a.jpg", "b.jpg"))(root)
        write("Annotations/c.xml", XML.replace("a.jpg", "c.jpg"))(root)
        write("ImageSets/Main/train.txt", "a\nc\n")(root)
        write("ImageSets/Main/val.txt", "b\n")(root)
    elif format == "yolo":
        write("data.yaml", "names: [cat, dog]\nnc: 2\ntrain: train.txt\nval: val.txt\n")(root)
        write("train.txt", "images/a.jpg\nimages/c.jpg\n")(root)
        write("val.txt", "images/b.jpg\n")(root)
        write("labels/a.txt", "0 0.5 0.5 0.2 0.2\n")(root)
        write("labels/b.txt", "1 0.5 0.5 0.2 0.2\n")(root)
    elif format == "coco":
        splits = (("a", "train"), ("b", "val"), ("c", "train"))
        images: list[dict[str, Any]] = [
            {"id": i, "file_name": f"{name}.jpg", "width": 40, "height": 30, "split": split}
            for i, (name, split) in enumerate(splits, start=1)
        ]
        annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": [2, 2, 9, 9]} for i in (1, 2)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
        write("annotations.json", json.dumps(content))(root)


def write(name: str, content: str | bytes) -> Change:
    def change(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def swap(name: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return change


def put(*where: Any) -> Change:
    """Set a value in annotations.json: the keys that lead to it, then the value; ``...`` appends."""
    *keys, last, value = where

    def change(root: Path) -> None:
        content = json.loads((root / "annotations.json").read_text())
        group = content
        for key in keys:
            group = group[key]
        if last is ...:
            group.append(value)
        else:
            group[last] = value
        (root / "annotations.json").write_text(json.dumps(content))

    return change


def remove(name: str) -> Change:
    return lambda root: (root / name).unlink()


def cut(name: str) -> Change:
    def change(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) * 2 // 3])

    return change


def unknown(name: str) -> Change:
    """A DDS file of a pixel format that Pillow's decoder does not know, which it says by NotImplementedError."""
    header = struct.pack("<7I44x", 124, 0x1007, 4, 4, 16, 0, 0) + struct.pack("<2I4s5I", 32, 4, b"XXXX", 0, 0, 0, 0, 0)

    def change(root: Path) -> None:
        (root / name).write_bytes(b"DDS " + header + struct.pack("<5I", 0x1000, 0, 0, 0, 0) + bytes(64))

    return change


def deep(name: str) -> Change:
    """A picture of 16 bits, whatever its name says."""
    return lambda root: Image.new("I;16", (40, 30), 4000).save(root / name, format="PNG")


def link(name: str, target: str) -> Change:
    def change(root: Path) -> None:
        outside = root.parent / target
        Image.new("RGB", (40, 30)).save(outside)
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(outside)

    return change


def fetch(root: Path, format: str, on_invalid: str, options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "format": format,
        "root": str(root),
        "options": options,
        "on_invalid": on_invalid,
        "splits": {"val": 0.0, "test": 0.0, "seed": 0},
    }
    return importing.import_dataset(DatasetParams.parse(given, "dataset"))[1]


JSON = "annotations.json"
TRAIN = "ImageSets/Main/train.txt"
A_XML = "Annotations/a.xml"
A_TXT = "labels/a.txt"
IMAGE = {"id": 4, "file_name": "a.jpg"}

# What can be left out: format, fault, file, id and what the message says, number of entries in info.dropped.
DROPPABLE = [
    ("coco", remove("images/a.jpg"), JSON, "image 1", "'a.jpg': image file is missing (with its 1 objects)", 1),
    ("coco", cut("images/a.jpg"), JSON, "image 1", "truncated", 1),
    ("coco", unknown("images/a.jpg"), JSON, "image 1", "image cannot be read (Unimplemented pixel format", 1),
    ("coco", deep("images/a.jpg"), JSON, "image 1", "more than 8 bits a channel", 1),
    ("coco", write("images/a.jpg", "no image"), JSON, "image 1", "not an image file", 1),
    ("coco", write("images/a.jpg", ""), JSON, "image 1", "not an image file", 1),
    ("coco", put("annotations", 0, "bbox", [30, 2, 12, 9]), JSON, "annotation 1", "(40 x 30) by 2 px", 1),
    ("coco", put("annotations", 0, "bbox", [2, -1.5, 9, 9]), JSON, "annotation 1", "(40 x 30) by 1.5 px", 1),
    ("coco", put("annotations", 0, "bbox", [40, 2, 0.5, 9]), JSON, "annotation 1", "no area inside the image", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 0, 9]), JSON, "annotation 1", "no area", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 9, -9]), JSON, "annotation 1", "no area", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 1e308, 9]), JSON, "annotation 1", "leaves the image", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 9, float("nan")]), JSON, "annotation 1", "not finite", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 9, float("inf")]), JSON, "annotation 1", "not finite", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 9, "wide"]), JSON, "annotation 1", "not four numbers", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 9, None]), JSON, "annotation 1", "not four numbers", 1),
    ("coco", put("annotations", 0, "bbox", [2, 2, 9]), JSON, "annotation 1", "not four numbers", 1),
    ("coco", put("annotations", 0, "bbox", "2 2 9 9"), JSON, "annotation 1", "not four numbers", 1),
    ("coco", put("annotations", 0, "category_id", 8), JSON, "annotation 1", "unknown class 8", 1),
    ("coco", put("annotations", 0, "category_id", "cat"), JSON, "annotation 1", "unknown class", 1),
    ("coco", put("annotations", 0, "image_id", 77), JSON, "annotation 1", "annotation for an unknown image", 1),
    ("coco", put("annotations", 0, "image_id", [1]), JSON, "annotation 1", "annotation for an unknown image", 1),
    ("coco", put("images", 1, "id", 1), JSON, "image 1", "id is duplicated, the second time for 'b.jpg'", 2),
    ("coco", put("images", 0, "id", True), JSON, "image True", "id is neither a whole number", 2),
    ("coco", put("images", 0, "id", -1), JSON, "image -1", "id is neither a whole number", 2),
    ("coco", put("images", ..., {**IMAGE, "split": "train"}), JSON, "image 4", "file name 'a.jpg' is duplicated", 1),
    ("coco", put("images", ..., {**IMAGE, "split": "val"}), JSON, "image 1", "is in two splits (train and val)", 1),
    ("coco", put("images", 0, "file_name", "./b.jpg"), JSON, "image 1", "is in two splits (train and val)", 1),
    ("coco", put("images", 0, "file_name", 5), JSON, "image 1", "unfit file name 5", 1),
    ("coco", put("images", 0, "file_name", "a\n.jpg"), JSON, "image 1", "unfit file name", 1),
    ("coco", put("images", 0, "file_name", "x" * 300), JSON, "image 1", "image cannot be read", 1),
    ("coco", put("images", 0, "width", 41), JSON, "image 1", "size 41 x 30 disagrees with the file's 40 x 30", 1),
    ("coco", put("images", 0, "split", "dev"), JSON, "image 1", "unknown split 'dev'", 1),
    ("voc", write(A_XML, "<annotation><object>"), A_XML, "", "not valid XML", 1),
    ("voc", write(A_XML, b"\xff\xfe\x00"), A_XML, "", "not valid XML", 1),
    ("voc", swap(A_XML, ">20<", ">2<"), A_XML, "object 1", "box (2, 2, 2, 2) has no area", 1),
    ("voc", swap(A_XML, "<xmin>2</xmin>", ""), A_XML, "object 1", "not four numbers", 1),
    ("voc", swap(A_XML, "<xmin>2", "<xmin>left"), A_XML, "object 1", "not four numbers", 1),
    ("voc", swap(A_XML, "<name>cat</name>", ""), A_XML, "object 1", "unknown class None", 1),
    ("voc", swap(A_XML, "<width>40", "<width>30"), A_XML, "image a", "size 30 x 30 disagrees", 1),
    ("voc", write(TRAIN, "a\nnone\n"), TRAIN, "image none", "'none.jpg': image file is missing", 1),
    ("voc", write(TRAIN, "a\nb\n"), TRAIN, "image b", "is in two splits (train and val)", 1),
    ("voc", write(TRAIN, "a\na\n"), TRAIN, "image a", "is duplicated", 1),
    ("voc", remove(A_XML), TRAIN, "image a", "has no annotation file", 1),
    ("yolo", write(A_TXT, "0 0.5 0.5 0.2\n"), A_TXT, "line 1", "4 values in place of 5", 1),
    ("yolo", write(A_TXT, "\n0 .1 .1 .2 .1 .2 .2 .3\n"), A_TXT, "line 2", "8 values in place of 5", 1),
    ("yolo", write(A_TXT, "cat 0.5 0.5 0.2 0.2\n"), A_TXT, "line 1", "class 'cat' is not a whole", 1),
    ("yolo", write(A_TXT, "-1 0.5 0.5 0.2 0.2\n"), A_TXT, "line 1", "class '-1' is not a whole", 1),
    ("yolo", write(A_TXT, "2 0.5 0.5 0.2 0.2\n"), A_TXT, "line 1", "unknown class 2", 1),
    ("yolo", write(A_TXT, "0 0.5 x 0.2 0.2\n"), A_TXT, "line 1", "not four numbers", 1),
    ("yolo", write(A_TXT, "0 nan 0.5 0.2 0.2\n"), A_TXT, "line 1", "not finite", 1),
    ("yolo", write(A_TXT, "0 0.5 0.5 0 0.2\n"), A_TXT, "line 1", "no area", 1),
    ("yolo", write(A_TXT, "0 0.5 0.5 1.2 0.2\n"), A_TXT, "line 1", "leaves the image (40 x 30) by 4 px", 1),
    ("yolo", write(A_TXT, b"\xff\xfe\x00"), A_TXT, "", "not UTF-8 text", 1),
    ("yolo", write("labels/d.txt", "0 0.5 0.5 0.2 0.2\n"), "labels/d.txt", "line 1", "unknown image", 1),
    ("yolo", write("train.txt", "images/a.jpg\nimages/none.jpg\n"), "train.txt", "image images/none", "missing", 1),
    ("yolo", write("train.txt", "images/a.jpg\nimages/b.jpg\n"), "train.txt", "image images/b", "is in two splits", 1),
    ("yolo", write("train.txt", "images/a.jpg\nimages/\0.jpg\n"), "train.txt", "image images/?", "unfit file name", 1),
    ("folder", cut("a.jpg"), "a.jpg", "image a.jpg", "truncated", 1),
]  # fmt: skip

# What cannot: format, fault, file and id, what the message says.
REFUSED = [
    ("coco", write(JSON, '{"images": ['), JSON, "not valid JSON at line 1, column 13"),
    ("coco", write(JSON, b"\xff\xfe"), JSON, "not UTF-8"),
    ("coco", write(JSON, "[" * 100_000), JSON, "cannot be read"),
    ("coco", write(JSON, "[1]"), JSON, "has no list 'images'"),
    ("coco", put("annotations", {}), JSON, "has no list 'annotations'"),
    ("coco", put("images", 0, "a.jpg"), f"{JSON}: images[0]", "'a.jpg' is no object"),
    ("coco", remove(JSON), JSON, "no such file"),
    ("coco", put("images", []), "", "no images"),
    ("coco", put("categories", []), "", "no classes"),
    ("coco", put("categories", 0, "name", " "), "class ''", "not a class name"),
    ("coco", put("categories", 0, "id", True), f"{JSON}: categories[0]", "needs an id and a name"),
    ("coco", put("categories", ..., {"id": 1, "name": "dog"}), f"{JSON}: category 1", "id is duplicated"),
    ("coco", put("categories", ..., {"id": 2, "name": "cat"}), "class 'cat'", "is duplicated"),
    ("coco", put("images", 0, "file_name", "../a.jpg"), f"{JSON}: image 1", "leaves the image root"),
    ("coco", put("images", 0, "file_name", "x/../../a.jpg"), f"{JSON}: image 1", "leaves the image root"),
    ("coco", put("images", 0, "file_name", "/etc/hostname"), f"{JSON}: image 1", "leaves the image root"),
    ("coco", put("images", 0, "file_name", "C:\\a.jpg"), f"{JSON}: image 1", "leaves the image root"),
    ("coco", put("images", 0, "file_name", "..\\a.jpg"), f"{JSON}: image 1", "leaves the image root"),
    ("coco", link("images/a.jpg", "secret.jpg"), f"{JSON}: image 1", "leaves the image root"),
    ("coco", swap(JSON, '"train"', '"test"'), "", "no image for the pool"),
    ("voc", write(A_XML, BOMB), A_XML, "declares entities"),
    ("voc", write(A_XML, OUTSIDE), A_XML, "declares entities"),
    ("voc", swap(A_XML, "a.jpg", "../../a.jpg"), A_XML, "leaves the image root"),
    ("voc", write(TRAIN, "../JPEGImages/a\n"), TRAIN, "leaves the image root"),
    ("voc", write(TRAIN, "\n\n"), TRAIN, "empty list"),
    ("voc", write(TRAIN, b"\xff\xfe"), TRAIN, "not UTF-8"),
    ("yolo", write("train.txt", "/etc/hostname.jpg\n"), "train.txt", "leaves the image root"),
    ("yolo", write("train.txt", ""), "train.txt", "empty list"),
    ("yolo", write("data.yaml", "names: [cat\n"), "data.yaml", "not valid YAML at line 2"),
    ("yolo", write("data.yaml", "- cat\n"), "data.yaml", "holds no keys"),
    ("yolo", swap("data.yaml", "nc: 2", "nc: 3"), "data.yaml: nc", "says 3, names has 2"),
    ("yolo", swap("data.yaml", "[cat, dog]", "{1: cat, 2: dog}"), "data.yaml: names", "not numbered from 0"),
    ("yolo", swap("data.yaml", "[cat, dog]", "[cat, no]"), "class False", "not a class name"),
    ("yolo", swap("data.yaml", "train.txt", "/etc"), "data.yaml: '/etc'", "leaves dataset.root"),
    ("yolo", swap("data.yaml", "train.txt", "images/train"), "images/train", "no images"),
    ("yolo", swap("data.yaml", "train.txt", "[[]]"), "data.yaml: train", "[] is no path"),
    ("yolo", swap("data.yaml", "train.txt", "7"), "data.yaml: train", "7 is no path"),
    ("folder", remove("a.jpg"), "", "classes must come from one place"),
]  # fmt: skip


def name(case: tuple[Any, ...]) -> str:
    return f"{case[0]}-{case[-2] if isinstance(case[-1], int) else case[-1]}"


@pytest.mark.parametrize("case", DROPPABLE, ids=name)
def test_a_fault_ends_the_import_or_is_left_out(tmp_path: Path, case: tuple[str, Change, str, str, str, int]) -> None:
    format, change, file, id, what, count = case
    options = {"classes": ["cat"]} if format == "folder" else {}
    root = tmp_path / "set"
    sound(root, format)
    assert fetch(root, format, "fail", options)["dropped"] == []
    change(root)

    with pytest.raises(MgralError) as caught:
        fetch(root, format, "fail", options)
    message = str(caught.value)
    assert message.startswith(": ".join(part for part in (str(root / file), id) if part) + ": ")
    assert what in message
    assert message.endswith(", or leave it out with dataset.on_invalid: drop")
    assert len(message.splitlines()) == 1

    dropped = fetch(root, format, "drop", options)["dropped"]
    assert len(dropped) == count
    assert (dropped[0]["file"], dropped[0]["id"]) == (file, id)
    assert what in dropped[0]["what"]


@pytest.mark.parametrize("on_invalid", ["fail", "drop"])
@pytest.mark.parametrize("case", REFUSED, ids=name)
def test_what_cannot_be_left_out_ends_the_import(
    tmp_path: Path, case: tuple[str, Change, str, str], on_invalid: str
) -> None:
    format, change, place, what = case
    root = tmp_path / "set"
    sound(root, format)
    change(root)
    with pytest.raises(MgralError) as caught:
        fetch(root, format, on_invalid, {})
    message = str(caught.value)
    assert message.startswith(str(root))
    assert place in message
    assert what in message
    assert len(message.splitlines()) == 1
    assert not message.endswith("drop")


def test_nothing_left(tmp_path: Path) -> None:
    sound(tmp_path, "coco")
    for file in "abc":
        remove(f"images/{file}.jpg")(tmp_path)
    with pytest.raises(MgralError, match="no image is left; fix the 3 faults found"):
        fetch(tmp_path, "coco", "drop", {})


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MgralError, match=r"dataset\.root: \S+none: no such folder; give the folder of the"):
        fetch(tmp_path / "none", "coco", "fail", {})


@pytest.mark.parametrize("root", [None, "none"])
def test_a_generated_set_that_is_not_there_is_no_fault_of_the_user(root: str | None) -> None:
    given = {"format": "synthetic", "root": root, "options": {}, "on_invalid": "fail"}
    params = DatasetParams.parse(given | {"splits": {"val": 0.2, "test": 0.2, "seed": 0}}, "dataset")
    with pytest.raises(MgralError, match=r"dataset\.root: .*; a run generates this data set in data/raw/<experiment>"):
        importing.import_dataset(params)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to every value of a JSON document, the document itself left out."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    found = [(*path, key) for key, _ in items]
    return found + [place for key, inner in items for place in places(inner, (*path, key))]


@pytest.mark.parametrize("on_invalid", ["fail", "drop"])
def test_no_value_anywhere_in_a_coco_file_breaks_the_import(tmp_path: Path, on_invalid: str) -> None:
    sound(tmp_path, "coco")
    text = (tmp_path / JSON).read_text()
    imported = refused = 0
    for place in places(json.loads(text)):
        for value in (None, True, -1, 10**400, "", "\ud800", [[1]], {"id": 1}):
            (tmp_path / JSON).write_text(text)
            put(*place, value)(tmp_path)
            try:
                fetch(tmp_path, "coco", on_invalid, {})
                imported += 1
            except MgralError as error:
                refused += 1
                assert len(str(error).splitlines()) == 1
    assert imported > 20
    assert refused > 50
