"""Inputs spoilt at random from a seed: bytes, text, JSON values and files of small data sets and of internal files.

    python tests/fuzz/spoil.py --cases 10000 --seed 0

What is checked of each case: it ends within 10 seconds; it is accepted, or refused by MgralError in one line of bounded
length, and nothing else is raised; and what an import accepts, ``dataset.json``'s own reader accepts too, unchanged.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mgral.config import loading
from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Detections, Embeddings, Pick
from mgral.core.types import Image as Entry
from mgral.data import dataset_json, importing
from mgral.data.pool import Pool, read_pool, write_pool
from mgral.data.selection import Selection, read_selection, write_selection
from mgral.detection import detections_file, npz_files

LIMIT = 10  # seconds a case
LONGEST = 2000  # characters of a message
SIZE = (40, 30)
HOSTILE = (
    *("0", "-1", "1e400", "nan", "inf", "9" * 5000, "1e-320", "2147483648", "9223372036854775808", "0.0", "true"),
    *("null", "", " ", "\x00", "\ud7ff", "../../etc/passwd", "/etc/passwd", "C:\\x.jpg", "~", "x" * 300, "%s%n", "{0}"),
    *("$(id)", "\ufeff", "\u202e", "'", '"', "<a>", "&amp;", "[", "{", "*a", "&a", "\\ud800", "NaN"),
    "!!python/object:os.system",
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 1e308, 10**30, "", "0", "x", "\ud800", "a/b", "../a", "x" * 300),
    *([], {}, [[]], [1, 2, 3], {"id": 1}, [None] * 4, ["1", "2", "3", "4"], [1e308] * 4, [-5, -5, 4, 4], [0, 0, 0, 0]),
)

XML = (
    "<annotation><filename>{0}.jpg</filename><size><width>40</width><height>30</height></size><object><name>cat</name>"
    "<difficult>0</difficult><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>"
    "</annotation>"
)


def _pictures(folder: Path, suffix: str = "jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate("abc"):
        Image.new("RGB", SIZE, (40 * number, 90, 200)).save(folder / f"{name}.{suffix}")


def _coco(root: Path) -> dict[str, Any]:
    _pictures(root / "images")
    images = [
        {"id": i, "file_name": f"{n}.jpg", "width": 40, "height": 30, "split": s}
        for i, (n, s) in enumerate((("a", "train"), ("b", "val"), ("c", "train")), start=1)
    ]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [2, 2, 9, 9], "iscrowd": 0} for i in (1, 2)]
    polygon = {"id": 3, "image_id": 3, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 32}
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": [*boxes, polygon], "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))
    return {"format": "coco", "options": {}}


def _folder(root: Path) -> dict[str, Any]:
    _coco(root)
    Image.new("RGB", SIZE).save(root / "images" / "d.png")
    return {"format": "folder", "options": {"images": "images", "annotations": "annotations.json"}}


def _voc(root: Path) -> dict[str, Any]:
    _pictures(root / "JPEGImages")
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in "abc":
        (root / f"Annotations/{name}.xml").write_text(XML.format(name))
    (root / "ImageSets/Main/train.txt").write_text("a\nc\n")
    (root / "ImageSets/Main/val.txt").write_text("b\n")
    return {"format": "voc", "options": {}}


def _yolo(root: Path) -> dict[str, Any]:
    _pictures(root / "images")
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("path: .\nnames: [cat, dog]\nnc: 2\ntrain: train.txt\nval: val.txt\n")
    (root / "train.txt").write_text("images/a.jpg\n./images/c.jpg\n")
    (root / "val.txt").write_text("images/b.jpg\n")
    (root / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "labels/b.txt").write_text("1 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.4 0.1 0.4 0.4\n")
    (root / "labels/c.txt").write_text("")
    return {"format": "yolo", "options": {}}


def _darknet(root: Path) -> dict[str, Any]:
    _pictures(root / "obj_train_data", "png")
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    (root / "train.txt").write_text("".join(f"data/obj_train_data/{name}.png\n" for name in "abc"))
    for name in "abc":
        (root / f"obj_train_data/{name}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    return {"format": "yolo", "options": {}}


FORMATS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "coco": _coco,
    "folder": _folder,
    "voc": _voc,
    "yolo": _yolo,
    "darknet": _darknet,
}


def _dataset() -> Dataset:
    boxes = Boxes(np.array([[1, 2, 9, 9.5]], np.float32), np.array([0]), np.array([False]))
    splits = ("train", "train", "val", "test")
    images = {i: Entry(i, f"{i}.jpg", 40, 30, splits[i - 1]) for i in range(1, 5)}  # type: ignore[arg-type]
    return Dataset(("cat", "dog"), images, {1: boxes, 2: Boxes.empty(), 3: boxes, 4: boxes}, Path("x"))


def _found() -> dict[int, Detections]:
    probs = np.array([[0.1, 0.7, 0.2]], np.float32)
    one = Detections(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), probs)
    return {1: one, 2: one}


def _write(kind: str, path: Path) -> None:
    if kind == "dataset.json":
        dataset_json.write(_dataset(), {"format": "coco", "dropped": [], "clipped": 0}, path)
    elif kind == "pool.json":
        write_pool(Pool(1, {1: 0}, (2,)), path)
    elif kind == "selected.json":
        picks = [Pick(2, 0.5, {"entropy": 1.5})]
        write_selection(Selection("random", "random", 0, 0, 1, picks), _dataset(), path)
    elif kind == "embeddings.npz":
        npz_files.write_embeddings(Embeddings(np.array([1, 2]), np.ones((2, 8), np.float32)), path)
    elif kind == "detections.npz":
        detections_file.write(path, _found(), "softmax", 2)
    else:
        shutil.copy(Path(__file__).parents[2] / "params/base.yaml", path)


READERS: dict[str, Callable[[Path], Any]] = {
    "dataset.json": dataset_json.read,
    "pool.json": lambda path: read_pool(path, _dataset()),
    "selected.json": lambda path: read_selection(path, _dataset()),
    "embeddings.npz": npz_files.read_embeddings,
    "detections.npz": lambda path: {**detections_file.read(path)[0]},
    "params.yaml": lambda path: loading.read([path]),
}


class TooLongError(Exception):
    """A case took longer than it may."""


@contextlib.contextmanager
def limit() -> Iterator[None]:
    """Raise TooLongError where a case takes too long."""

    def stop(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _bytes(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        at = chance.randrange(len(content) + 1)
        what = chance.randrange(5)
        if what == 0 and at < len(content):
            content[at] = chance.randrange(256)
        elif what == 1:
            del content[at:]
        elif what == 2:
            content[at:at] = chance.randbytes(chance.choice((1, 4, 64)))
        elif what == 3:
            content[at:at] = content[: chance.randrange(len(content) + 1)][:2000]
        else:
            del content[at : at + chance.choice((1, 3, 30))]
    path.write_bytes(bytes(content))


def _text(path: Path, chance: random.Random) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    tokens = list(re.finditer(r"-?\d+(\.\d+)?|[A-Za-z_./]+|[\[\]{}:,<>\"]|\n", text))
    for token in sorted(chance.sample(tokens, min(len(tokens), chance.choice((1, 1, 2, 4)))), key=lambda t: -t.start()):
        other = chance.choice((*HOSTILE, chance.choice(tokens).group()))
        text = text[: token.start()] + other + text[token.end() :]
    path.write_bytes(text.encode("utf-8", "replace"))


def _value(path: Path, chance: random.Random) -> None:
    try:
        content = json.loads(path.read_text())
    except ValueError:
        return _text(path, chance)
    if not isinstance(content, dict | list):
        return _text(path, chance)
    for _ in range(chance.choice((1, 1, 2, 4))):
        group, keys = content, list(content) if isinstance(content, dict) else list(range(len(content)))
        while keys:
            key = chance.choice(keys)
            inner = group[key]
            if not isinstance(inner, dict | list) or not inner or chance.random() < 0.15:
                if chance.random() < 0.2:
                    del group[key]
                else:
                    group[key] = copy.deepcopy(chance.choice(VALUES))  # it may be spoilt further
                break
            group, keys = inner, list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    return path.write_text(json.dumps(content)) and None


def _arrays(path: Path, chance: random.Random) -> None:
    """Another shape, type, order or value of one array."""
    try:
        with np.load(path) as archive:
            arrays = dict(archive)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError):  # spoilt before
        return
    name = chance.choice(list(arrays))
    array = arrays[name]
    others: list[Any] = [np.array(3), np.array(["softmax"]), np.array("x" * 300), np.array("softmin")]
    if array.ndim:
        others += [array[:0], array[..., None], array[::-1], np.concatenate([[array]] * 2)]
        others += [
            array.astype("U8"),
            array.astype("O").astype("U2"),
            np.zeros(array.shape, "c16"),
            np.full(array.shape, np.nan),
        ]
    arrays[name] = chance.choice(others)
    if chance.random() < 0.1:
        del arrays[name]
    np.savez(path, **arrays)


def _file(path: Path, chance: random.Random) -> None:
    what = chance.randrange(8)
    if what == 0:
        path.unlink()
    elif what == 1:
        path.rename(path.with_name(path.name.upper()))
    elif what == 2:
        path.unlink()
        path.mkdir()
    elif what == 3:
        path.unlink()
        path.symlink_to(chance.choice(("/etc/hostname", path.name, "nowhere", "..", "/dev/zero")))
    elif what == 4:
        path.unlink()
        os.mkfifo(path)
    elif what == 5:
        path.write_bytes(b"")
    elif what == 6:
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n")
    else:
        path.rename(path.with_name(chance.choice(("ä.jpg", "a b.txt", "x" * 240, "{1}.xml", "%20.jpg", ".hidden"))))


def spoil_files(files: list[Path], chance: random.Random, internal: bool) -> None:
    """Change one or two files: their bytes, text, values, or, unless they are internal, what they are."""
    for _ in range(chance.choice((1, 1, 2))):
        path = chance.choice(files)
        if not path.is_file() or path.is_symlink():
            continue
        if path.suffix == ".npz" and chance.random() < 0.7:
            _arrays(path, chance)
            continue
        ways = (
            (_bytes, _text, _value, _value, _text) if path.suffix in {".json", ".yaml", ".txt", ".xml"} else (_bytes,)
        )
        chance.choice(ways if internal or chance.random() < 0.85 else (_file,))(path, chance)


def _import(name: str, folder: Path, chance: random.Random) -> None:
    root = folder / "set"
    root.mkdir()
    given = FORMATS[name](root)
    spoil_files(sorted(path for path in root.rglob("*") if path.is_file()), chance, internal=False)
    given |= {
        "root": str(root),
        "on_invalid": chance.choice(("fail", "drop")),
        "links": chance.choice(("refuse", "follow")),
    }
    given |= {"unlisted": chance.choice(("leave", "pool")), "match": chance.choice(("path", "path", "name"))}
    given["splits"] = {"val": chance.choice((0.0, 0.3)), "test": 0.0, "seed": 0}
    dataset, info = importing.import_dataset(DatasetParams.parse(given, "dataset"))
    importing.summary(dataset, info)
    out = folder / "dataset.json"
    dataset_json.write(dataset, info, out)
    try:
        again = dataset_json.read(out)
    except MgralError as error:
        raise AssertionError(f"accepted, but dataset.json is refused: {error}") from None
    assert again.images == dataset.images and list(again.boxes) == list(dataset.boxes)
    assert all(np.array_equal(again.boxes[i].xyxy, dataset.boxes[i].xyxy) for i in dataset.boxes)


@functools.cache
def _warm() -> None:
    """Import what readers import late, so that the first case is not charged for it."""
    loading.read([Path(__file__).parents[2] / "params/base.yaml"])


def case(seed: int, number: int, folder: Path) -> tuple[str, str]:
    """Run one case in an empty folder.

    Returns:
        What was spoilt, and how it ended: ``accepted`` or ``refused``.

    Raises:
        Exception: whatever is wrong; all but MgralError in one line is.
    """
    _warm()
    chance = random.Random(f"{seed} {number}")
    kind = chance.choice([*FORMATS, *FORMATS, *READERS])
    try:
        with limit():
            if kind in FORMATS:
                _import(kind, folder, chance)
            else:
                path = folder / kind
                _write(kind, path)
                spoil_files([path], chance, internal=True)
                READERS[kind](path)
    except MgralError as error:
        message = str(error)
        assert len(message.splitlines()) == 1, message
        assert len(message) <= LONGEST, f"{len(message)} characters: {message[:200]}"
        return kind, "refused"
    return kind, "accepted"


def run(case: Callable[[int, int, Path], tuple[str, str]], about: str | None, prepare: Callable[[], object]) -> int:
    """Run many cases as the arguments say; print what went wrong, and the figures. Returns 1 if anything did."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    ended: Counter[tuple[str, str]] = Counter()
    longest = 0.0
    prepare()
    for number in range(given.first, given.first + given.cases):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                ended[case(given.seed, number, Path(folder))] += 1
            except (Exception, TooLongError) as error:
                ended["any", type(error).__name__] += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                print(f"case {number}: {type(error).__name__}: {str(error)[:200]} ({place})")
        longest = max(longest, time.perf_counter() - began)
    for (kind, how), count in sorted(ended.items()):
        print(f"{kind:15} {how:12} {count}")
    wrong = sum(count for (kind, _), count in ended.items() if kind == "any")
    print(f"cases={given.cases} wrong={wrong} longest={longest:.2f}s")
    return bool(wrong)


def main() -> int:
    """Spoil data sets."""
    return run(case, __doc__, _warm)


if __name__ == "__main__":
    sys.exit(main())
