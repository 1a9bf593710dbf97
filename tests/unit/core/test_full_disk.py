"""What cannot be written fails in one line, on a full disk as elsewhere, and leaves what was there before."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from tables import params

from mgral.agent import reinforce
from mgral.agent.policy import Policy
from mgral.config.schema import Machine
from mgral.core import files
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Detections, Embeddings, Image, Record
from mgral.data import image_cache
from mgral.detection import detections_file, feature_cache, npz_files
from mgral.detection.base import build_detector, save_detector
from mgral.detection.device import prepare_device
from mgral.report import learning_curves
from mgral.reward.lookup_table import LookupTable

ROOM = 8192  # bytes; each of these files is larger


def embeddings(images: int, width: int) -> Embeddings:
    return Embeddings(np.arange(images), np.random.default_rng(0).random((images, width), np.float32))


def table(images: int, width: int) -> LookupTable:
    """Two records, of all images but the first and of all but the last."""
    batches = [tuple(range(1, images)), tuple(range(images - 1))]
    return LookupTable([Record(ids, "random", 0.5, 1.0) for ids in batches], embeddings(images, width), params(1))


def detections(count: int) -> Detections:
    boxes = np.random.default_rng(0).random((count, 4), np.float32)
    return Detections(boxes, boxes[:, 0], np.zeros(count, np.int64), boxes)


def cache(path: Path) -> None:
    """A picture of 100 × 100 pixels in three colours."""
    picture = path.parent.parent / "picture.png"
    if not picture.exists():
        Pillow.new("RGB", (100, 100)).save(picture)
    image_cache.build(Dataset((), {1: Image(1, picture.name, 100, 100, "train")}, {}, picture.parent), 100, path)


def maps(path: Path) -> None:
    """Of a backbone over a picture of 32 × 32 pixels, whose own array has room."""
    folder = path.parent.parent
    Pillow.new("RGB", (32, 32)).save(folder / "small.png")
    dataset = Dataset((), {1: Image(1, "small.png", 32, 32, "train")}, {}, folder)
    image_cache.build(dataset, 32, folder / "small.npy")
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    detector = build_detector("tiny_ssd", ("a",), 32, {}, 0)
    feature_cache.write(detector, image_cache.Cache(dataset, folder / "small.npy"), [1], machine, path)


def curve(path: Path) -> None:
    rows = 1000
    learning_curves.write(pd.DataFrame({name: np.linspace(0, 1, rows) for name in learning_curves.COLUMNS}), path)


# By file: what writes it. The names are those that the verbs give.
WRITERS: dict[str, Callable[[Path], object]] = {
    "dataset.json": lambda path: files.write_json(path, list(range(5000))),
    "embeddings.npz": lambda path: npz_files.write_embeddings(embeddings(100, 256), path),
    "detections.npz": lambda path: detections_file.write(path, {1: detections(500)}, "sigmoid", 4),
    "records.parquet": lambda path: table(5000, 1).save(path.parent),
    "index.faiss": lambda path: table(3, 5000).save(path.parent),
    "agent.safetensors": lambda path: Policy(8, 32, 0).save(path),
    "detector.safetensors": lambda path: save_detector(build_detector("tiny_ssd", ("a",), 64, {}, 0), path),
    "detector.ckpt": lambda path: files.write_checkpoint(path, {"model": torch.zeros(5000), "step": 1}),
    "images.npy": cache,
    "backbone_features.npy": maps,
    "curve.csv": curve,
    "search.csv": lambda path: reinforce.write_rows([reinforce.Row(*[0] * len(fields(reinforce.Row)))] * 1000, path),
}


@contextmanager
def limited() -> Iterator[None]:
    """No file of this process may grow beyond ``ROOM``. A write then fails as on a full disk, by another number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python would cut what it compiles meanwhile, and keep it
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = bytecode


def fails_and_spoils_nothing(name: str, folder: Path, says: str) -> None:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text("of an earlier run")
    with pytest.raises(MgralError) as error:
        WRITERS[name](path)
    assert str(error.value) == f"{path}: cannot be written, {says}; make room and run this again"
    assert path.read_text() == "of an earlier run"
    left = {file.name for file in folder.iterdir()}
    assert left - {"records.parquet"} <= {name}  # the table's first file fits where its second does not


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_may_not_grow(name, tmp_path):
    folder = tmp_path / "run"
    with limited():
        fails_and_spoils_nothing(name, folder, "it is larger than a file may be here (ulimit -f)")
    WRITERS[name](folder / name)
    assert (folder / name).stat().st_size > ROOM


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(name, small_disk):
    folder = small_disk(ROOM)
    fails_and_spoils_nothing(name, folder, "the disk is full")


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write anywhere; as another user it may not."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("file/pool.json", "Not a directory"),
        ("file/below/pool.json", "Not a directory"),
        ("folder", "Is a directory"),
        ("locked/pool.json", "Permission denied"),
        ("locked/below/pool.json", "Permission denied"),
        (f"folder/{'a' * 300}.json", "File name too long"),
    ],
)
def test_a_place_that_takes_no_file(place, says, tmp_path):
    (tmp_path / "file").write_text("of the user")
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").mkdir(mode=0o500)
    path = tmp_path / place
    before = sorted(tmp_path.rglob("*"))
    with nobody() if "locked" in place else nullcontext(), pytest.raises(MgralError) as error:
        files.write_json(path, 1)
    assert str(error.value) == f"{path}: cannot be written ({says}); choose another place"
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "of the user"


@pytest.mark.parametrize(("place", "says"), [("locked/below", "Permission denied"), ("file", "File exists")])
def test_a_folder_that_cannot_be_made_is_named(place, says, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o500)
    path = tmp_path / place
    with (
        nobody() if "locked" in place else nullcontext(),
        pytest.raises(MgralError, match=f"/{place}: cannot be written .{says}.; choose another place"),
        files.locked(path),
    ):
        pass


def test_the_current_folder_is_no_file():
    with pytest.raises(MgralError, match="Is a directory"):
        files.write_json("", 1)


def test_a_place_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    begun = []
    with pytest.raises(MgralError), files.whole(tmp_path / "file" / "pool.json"):
        begun.append(True)
    assert not begun


def test_what_the_block_reads_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError) as error, files.whole(tmp_path / "pool.json"):
        (tmp_path / "input.json").read_text()
    assert str(error.value.filename) == str(tmp_path / "input.json")
    assert list(tmp_path.iterdir()) == []
