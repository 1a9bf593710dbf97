"""detections.npz: what is written comes back image by image, and a file that is none is named."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Activation, Detections
from mgral.detection import detections_file

CLASSES = 4


def detections(count: int, features: bool = True, activation: Activation = "sigmoid") -> Detections:
    rng = np.random.default_rng(count)
    return Detections(
        rng.random((count, 4), np.float32),
        rng.random(count, np.float32),
        rng.integers(0, CLASSES, count),
        rng.random((count, CLASSES + (activation == "softmax")), np.float32),
        rng.random((count, 64)).astype(np.float16) if features else None,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "detections.npz"


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("features", [True, False])
def test_detections_come_back(path: Path, features: bool, activation: Activation) -> None:
    given = {i: detections(count, features, activation) for i, count in ((7, 2), (3, 0), (5, 4))}
    detections_file.write(path, given, activation, CLASSES)
    found, says = detections_file.read(path)
    assert (says, found.classes, list(found), len(found)) == (activation, CLASSES, [3, 5, 7], 3)
    assert 5 in found and 4 not in found and "5" not in found
    with pytest.raises(KeyError):
        found[4]
    for i, one in given.items():
        for name in ("xyxy", "scores", "labels", "features"):
            before, after = getattr(one, name), getattr(found[i], name)
            assert (before is None) == (after is None)
            if before is not None:
                assert before.dtype == after.dtype
                np.testing.assert_array_equal(before, after)
        assert found[i].probs.dtype == np.float32
        np.testing.assert_array_equal(found[i].probs, one.probs.astype(np.float16))  # half precision, no more
        np.testing.assert_allclose(found[i].probs, one.probs, rtol=2**-11, atol=2**-25)


@pytest.mark.parametrize("keep", [(), ("probabilities",), ("features",)])
def test_what_nobody_reads_is_not_kept(path: Path, keep: tuple[str, ...]) -> None:
    detections_file.write(path, {1: detections(3), 2: detections(0)}, "sigmoid", CLASSES, keep)
    found, _ = detections_file.read(path)
    assert found[1].probs.shape == (3, CLASSES if keep == ("probabilities",) else 0)
    assert (found[1].features is not None) == (keep == ("features",))
    assert found.classes == CLASSES
    with np.load(path) as archive:  # any NumPy reads it
        assert sorted(archive) == sorted(detections_file._ARRAYS)
        assert archive["scores"].shape == (3,)


def test_no_image_at_all(path: Path) -> None:
    detections_file.write(path, {}, "softmax", CLASSES)
    found, says = detections_file.read(path)
    assert (dict(found), says) == ({}, "softmax")


def test_parts_give_the_bytes_of_the_whole_and_follow_one_another(path: Path, tmp_path: Path) -> None:
    given = {i: detections(i % 5) for i in range(1, 9)}
    detections_file.write(path, given, "sigmoid", CLASSES)
    parts = tmp_path / "parts.npz"
    with detections_file.writing(parts, "sigmoid", CLASSES) as file:
        for i in given:
            file.add({i: given[i]})
    assert parts.read_bytes() == path.read_bytes()
    before = sorted(tmp_path.iterdir())
    refused = pytest.raises(ValueError, match="image 3 comes after image 3")
    with refused, detections_file.writing(tmp_path / "other.npz", "sigmoid", CLASSES) as file:
        file.add({3: given[3]})
        file.add({3: given[3]})
    assert sorted(tmp_path.iterdir()) == before  # neither the file nor a part of it


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pool(path: Path) -> None:
    """Of 2,000 images, 42 MB, about one image is held at a time, when they are written as when they are read."""
    one = detections(100)

    def write(images: int) -> None:
        with detections_file.writing(path, "sigmoid", CLASSES) as file:
            for i in range(images):
                file.add({i: one})

    def look(images: int) -> None:
        found, _ = detections_file.read(path)
        assert sum(len(each) for each in found.values()) == 100 * images

    write(1)
    look(1)  # what is imported is kept
    for work in (write, look):
        tracemalloc.start()
        work(2_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4e6


def _spoilt(path: Path, **arrays: np.ndarray) -> None:
    with np.load(path) as archive:
        whole = dict(archive)
    np.savez(path, **{**whole, **arrays})


def test_arrays_that_do_not_belong_together_are_refused(path: Path) -> None:
    detections_file.write(path, {1: detections(2), 4: detections(3)}, "softmax", CLASSES, ("features",))
    good = path.read_bytes()
    for name, value in (
        ("offsets", np.array([0, 2])),
        ("offsets", np.array([0, 6, 5])),
        ("offsets", np.array([1, 2, 5])),
        ("offsets", np.zeros(0, np.int64)),
        ("scores", np.zeros(4, np.float32)),
        ("features", np.zeros((4, 64), np.float16)),
        ("probs", np.zeros((5, CLASSES), np.float16)),
    ):
        path.write_bytes(good)
        _spoilt(path, **{name: value})
        with pytest.raises(MgralError, match=r"its arrays do not belong together; run `mgral embed` again"):
            detections_file.read(path)


def test_a_file_that_is_none_is_named(path: Path) -> None:
    with pytest.raises(MgralError, match=r"detections\.npz: no such file; make it with `mgral embed`"):
        detections_file.read(path)
    detections_file.write(path, {1: detections(2)}, "sigmoid", CLASSES)
    good = path.read_bytes()
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{name: array for name, array in arrays.items() if name != "classes"})
    with pytest.raises(MgralError, match=r"has no array 'classes'; run `mgral embed` again"):
        detections_file.read(path)
    _spoilt(path, classes=np.array(CLASSES), labels=np.zeros(2))
    with pytest.raises(MgralError, match=r"array 'labels' is float64 \[2\]; run `mgral embed` again"):
        detections_file.read(path)
    _spoilt(path, labels=np.zeros(2, np.int32), ids=np.array([1, 1]))
    with pytest.raises(MgralError, match="its ids are not whole numbers in ascending order"):
        detections_file.read(path)
    _spoilt(path, ids=np.array([1]), activation=np.array("tanh"))
    with pytest.raises(MgralError, match="its activation or boxes are not those of a detector"):
        detections_file.read(path)
    at = good.index(b"\x93NUMPY", good.index(b"scores.npy")) + 130  # a number of an array
    flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    for content in (b"", b"PK", good[: len(good) // 2], good[:-30], flipped):
        path.write_bytes(content)
        with pytest.raises(MgralError, match=r"detections\.npz: not a NumPy archive; run `mgral embed` again"):
            detections_file.read(path)
    np.savez_compressed(path, **arrays)
    with pytest.raises(MgralError, match="not a NumPy archive"):
        detections_file.read(path)
