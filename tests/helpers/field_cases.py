"""Data sets as people have them: a small sound one of each format, edits that make a case of it, and the outcome.

A case is data: the format it starts from, edits in their order, changes to the group ``dataset``, and the outcome.
Every sound set has eight images ``p01`` … ``p08`` of 64 x 48 pixels, with one object each: corners 8, 6, 32, 24, of
class car where the number is odd, else dog.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.core.types import Dataset
from mgral.data import dataset_json, importing

SPLITS = {"val": 0.2, "test": 0.2, "seed": 0}
SIZE = (64, 48)
BOX = (8, 6, 32, 24)
STEMS = tuple(f"p{number:02}" for number in range(1, 9))
CLASSES = ("car", "dog")

XML = (
    "<annotation><folder>set</folder><filename>{stem}.jpg</filename><size><width>64</width><height>48</height>"
    "<depth>3</depth></size><object><name>{name}</name><difficult>0</difficult><bndbox><xmin>9</xmin><ymin>7</ymin>"
    "<xmax>32</xmax><ymax>24</ymax></bndbox></object></annotation>"
)
LINE = "{label} 0.3125 0.3125 0.375 0.375\n"


def picture(path: Path, size: tuple[int, int] = SIZE, seed: int = 0, **saving: Any) -> None:
    """An image file of noise; its suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path, **saving)


def sound(root: Path, kind: str) -> dict[str, Any]:
    """Write a sound data set below ``root``. Returns its format and options."""
    folder = {"voc": "JPEGImages", "darknet": "obj_train_data"}.get(kind, "images")
    for number, stem in enumerate(STEMS):
        picture(root / folder / f"{stem}.jpg", seed=number)
    labels = {stem: number % 2 for number, stem in enumerate(STEMS)}
    if kind == "voc":
        for stem, label in labels.items():
            _put(root / f"Annotations/{stem}.xml", XML.format(stem=stem, name=CLASSES[label]))
        return {"format": "voc", "options": {}}
    if kind == "yolo":
        _put(root / "data.yaml", "names: [car, dog]\n")
        for stem, label in labels.items():
            _put(root / f"labels/{stem}.txt", LINE.format(label=label))
        return {"format": "yolo", "options": {}}
    if kind == "darknet":
        _put(root / "obj.names", "car\ndog\n")
        _put(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
        _put(root / "train.txt", "".join(f"data/obj_train_data/{stem}.jpg\n" for stem in STEMS))
        for stem, label in labels.items():
            _put(root / f"obj_train_data/{stem}.txt", LINE.format(label=label))
        return {"format": "yolo", "options": {}}
    images = [{"id": i, "file_name": f"{stem}.jpg", "width": 64, "height": 48} for i, stem in enumerate(STEMS, start=1)]
    objects = [
        {"id": i, "image_id": i, "category_id": labels[stem] + 1, "bbox": [8, 6, 24, 18], "iscrowd": 0}
        for i, stem in enumerate(STEMS, start=1)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    _put(root / "annotations.json", json.dumps({"images": images, "annotations": objects, "categories": categories}))
    options = {"images": "images", "annotations": "annotations.json"} if kind == "folder" else {}
    return {"format": kind, "options": options}


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def edit(root: Path, what: str, given: Any) -> None:
    """One edit of a data set below ``root``; ``@ROOT@`` in a text stands for the root itself.

    ``write``: text by path. ``move``: a new path by pattern and path. ``replace``: path pattern, and old and new text.
    ``remove``: paths. ``link``: targets by path. ``json``: a value by the dotted path in annotations.json; ``*`` is
    every entry, and a value ``<remove>`` takes the key out. ``encode``: an encoding, or ``bom`` or ``crlf``, by path.
    ``image``: how an image is saved, by path. ``fifo``: paths.
    """
    if what == "remove":
        for path in _found(root, given):
            path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()
        return
    if what == "fifo":
        for name in given:
            (root / name).unlink(missing_ok=True)
            os.mkfifo(root / name)
        return
    if what == "json":
        file = root / given.get("file", "annotations.json")
        content = json.loads(file.read_text(encoding="utf-8"))
        for place, value in given.items():
            if place != "file":
                _set(content, place.split("."), value)
        _put(file, json.dumps(content))
        return
    for name, value in given.items():
        if what == "write":
            _put(root / name, value.replace("@ROOT@", str(root)))
        elif what == "link":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(value.replace("@ROOT@", str(root)))
        elif what == "image":
            value = dict(value)
            size = tuple(value.pop("size", SIZE))
            if "orientation" in value:
                exif = Image.Exif()
                exif[0x0112] = value.pop("orientation")
                value["exif"] = exif
            picture(root / name, size, seed=len(name), **value)
        elif what == "move":
            for path in _found(root, [name]):
                target = root / re.sub(*value, path.relative_to(root).as_posix())
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
                if path.parent != root and not any(path.parent.iterdir()):
                    path.parent.rmdir()
        elif what == "replace":
            for path in _found(root, [name]):
                old, new = value
                before = path.read_text(encoding="utf-8")
                after = re.sub(old, str(new).replace("@ROOT@", str(root)), before)
                assert after != before, f"{path}: nothing to replace"
                _put(path, after)
        elif what == "encode":
            for path in _found(root, [name]):
                text = path.read_text(encoding="utf-8")
                if value == "crlf":
                    path.write_bytes(text.replace("\n", "\r\n").encode())
                else:
                    path.write_bytes(text.encode("utf-8-sig" if value == "bom" else value))
        else:
            raise ValueError(what)


def _found(root: Path, patterns: list[str]) -> list[Path]:
    found = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    assert found, f"nothing matches {patterns}"
    return found


def _set(content: Any, keys: list[str], value: Any) -> None:
    key, *rest = keys
    if key == "*":
        for entry in list(content):
            _set(entry, rest, value)
    elif key == "+":
        content.append(value)
    elif rest:
        _set(content[int(key) if isinstance(content, list) else key], rest, value)
    elif value == "<remove>":
        del content[int(key) if isinstance(content, list) else key]
    elif isinstance(content, list):
        content[int(key)] = value
    else:
        content[key] = value


def made(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write a case below ``folder``. Returns its group ``dataset``."""
    root = folder / "set"
    root.mkdir()
    given = sound(root, case["set"])
    for step in case.get("edits", []):
        ((what, value),) = step.items()
        edit(root, what, value)
    return {**given, "root": str(root), "on_invalid": "fail"}


def imported(given: dict[str, Any], changes: dict[str, Any]) -> tuple[Dataset, dict[str, Any], str]:
    """The data set, its info, and all that the import says about it.

    Args:
        given: the group ``dataset``.
        changes: of its keys; ``options`` and ``splits`` are changed key by key.
    """
    given = {**given, **{k: v for k, v in changes.items() if k not in {"splits", "options"}}}
    given["options"] = {**given["options"], **changes.get("options", {})}
    given["splits"] = {**SPLITS, **changes.get("splits", {})}
    dataset, info = importing.import_dataset(DatasetParams.parse(given, "dataset"))
    return dataset, info, "\n".join(importing.summary(dataset, info))


def check(given: dict[str, Any], changes: dict[str, Any], expected: dict[str, Any], out: Path) -> None:
    """Import a case, and compare with the outcome that it must have.

    Args:
        given, changes: as for :func:`imported`.
        expected: ``refuse``: patterns that the one-line error matches. Else ``images``, ``boxes``, ``ignored``,
            ``unannotated``, ``classes`` (counts), ``size`` and ``box`` (of the first image), ``says`` (patterns of
            the summary), ``silent`` (patterns that it must not match), ``apart`` (a pattern of groups that must not
            be torn).
        out: where the canonical file is written, and read again.
    """
    if "refuse" in expected:
        with pytest.raises(MgralError) as caught:
            imported(given, changes)
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert len(message) < 2000
        for pattern in expected["refuse"]:
            assert re.search(pattern, message), message
        return
    dataset, info, said = imported(given, changes)
    dataset_json.write(dataset, info, out)
    again = dataset_json.read(out)
    assert again.images == dataset.images
    assert list(again.boxes) == list(dataset.boxes)
    boxes = list(dataset.boxes.values())
    first = dataset.images[min(dataset.images)]
    found = {
        "images": len(dataset.images),
        "boxes": sum(map(len, boxes)),
        "ignored": sum(int(item.ignore.sum()) for item in boxes),
        "unannotated": len(dataset.images) - len(boxes),
        "classes": len(dataset.classes),
        "size": [first.width, first.height],
        "box": next((item.xyxy[0].tolist() for item in boxes if len(item)), None),
    }
    assert found == {**found, **{key: value for key, value in expected.items() if key in found}}, said
    for pattern in expected.get("says", []):
        assert re.search(pattern, said), said
    for pattern in expected.get("silent", []):
        assert not re.search(pattern, said), said
    if "apart" in expected:
        _check_apart(dataset, expected["apart"])


def _check_apart(dataset: Dataset, pattern: str) -> None:
    groups: dict[str, set[str]] = {}
    for image in dataset.images.values():
        group = re.search(pattern, image.file_name)
        assert group
        groups.setdefault(group.group(1), set()).add(image.split)
    assert all(len(splits) == 1 for splits in groups.values())


def table(path: Path) -> dict[str, dict[str, Any]]:
    """Cases by name."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
