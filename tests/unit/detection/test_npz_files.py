"""What is written comes back, and a file that is none is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Embeddings, ImageScores
from mgral.detection import npz_files
from mgral.detection.npz_files import (
    read_embeddings,
    read_image_scores,
    write_embeddings,
    write_image_scores,
    writing_embeddings,
)


@pytest.mark.parametrize("mapped", [False, True])
def test_the_quality_of_images_lies_beside_their_embeddings(
    mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_files, "MAPPED", 0 if mapped else 2**27)
    path, quality = tmp_path / "embeddings.npz", np.array([[1, 0], [2, 0.5], [3, 1]], np.float32)
    rows = np.zeros((3, 256), np.float32)
    ids = np.array([3, 5, 8])
    for first in (quality[:2], None):  # that of all images, or of none
        with writing_embeddings(path, 256) as add:
            add(Embeddings(ids[:2], rows[:2], quality=first))
            add(Embeddings(ids[2:], rows[2:], quality=quality[2:]))
        found = read_embeddings(path)
        assert found.quality is None if first is None else np.array_equal(found.quality, quality)
    np.savez(path, ids=ids, vectors=rows, quality=quality[:2])
    with pytest.raises(
        MgralError, match="no sharpness and clipped share for each of 3 images; run `mgral embed` again"
    ):
        read_embeddings(path)


def test_embeddings_come_back_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_embeddings(Embeddings(IDS, vectors), path)
    np.testing.assert_array_equal(read_embeddings(path).rows([8, 3]), [[4, 5], [0, 1]])
    for ids, rows, says in (
        (IDS[::-1], vectors, "not whole numbers in ascending"),
        (IDS, vectors[:2], "no vector for"),
    ):
        write_embeddings(Embeddings(ids, rows), path)
        with pytest.raises(MgralError, match=rf"embeddings\.npz: .*{says}.*; run `mgral embed` again"):
            read_embeddings(path)


def test_embeddings_come_back_from_parts_and_from_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is mapped, at an address that NumPy's arrays have, and damage is found all the same."""
    path, parts = tmp_path / "embeddings.npz", tmp_path / "parts.npz"
    vectors = np.random.default_rng(0).random((5, 7), np.float32)
    write_embeddings(Embeddings(np.arange(5), vectors), path)
    with writing_embeddings(parts, 7) as add:
        for rows in (slice(0, 2), slice(2, 2), slice(2, 5)):
            add(Embeddings(np.arange(5)[rows], vectors[rows]))
    assert parts.read_bytes() == path.read_bytes()
    monkeypatch.setattr(npz_files, "MAPPED", 0)
    for file in (path, parts):
        found = read_embeddings(file)
        assert isinstance(found.vectors.base, np.memmap) and not found.vectors.flags.writeable
        assert found.vectors.flags.aligned and found.vectors.ctypes.data % 64 == 0
        np.testing.assert_array_equal(found.rows([4, 0]), vectors[[4, 0]])
    content = bytearray(path.read_bytes())
    content[content.index(vectors.tobytes()) + 3] ^= 1
    path.write_bytes(content)
    for smallest in (0, 2**30):
        monkeypatch.setattr(npz_files, "MAPPED", smallest)
        with pytest.raises(MgralError, match="not a NumPy archive"):
            read_embeddings(path)
    np.savez(parts, ids=np.arange(5))
    monkeypatch.setattr(npz_files, "MAPPED", 0)
    with pytest.raises(MgralError, match="has no array 'vectors'"):
        read_embeddings(parts)


@pytest.mark.parametrize("smallest", [0, 2**30])
def test_embeddings_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: int) -> None:
    """Half the bytes; read as float32 whether mapped or not, each number off by at most 2^-11 of itself."""
    monkeypatch.setattr(npz_files, "MAPPED", smallest)
    vectors = np.random.default_rng(0).standard_normal((3, 2048), np.float32)
    sizes = []
    for precision in ("float32", "float16"):
        with writing_embeddings(tmp_path / "e.npz", 2048, precision) as add:
            add(Embeddings(IDS, vectors))
        sizes.append((tmp_path / "e.npz").stat().st_size)
    assert sizes[0] - sizes[1] == vectors.nbytes // 2
    found = read_embeddings(tmp_path / "e.npz")
    rows = found.rows([8, 3])
    assert rows.dtype == np.float32 and rows.flags.writeable
    assert found.vectors.dtype == (np.float16 if smallest == 0 else np.float32)
    np.testing.assert_allclose(rows, vectors[[2, 0]], rtol=2**-11, atol=2**-25)
    assert (rows != vectors[[2, 0]]).any()


def test_an_embedding_too_large_for_half_precision_is_named(tmp_path: Path) -> None:
    vectors = np.zeros((3, 2), np.float32)
    vectors[1, 0] = -65_536
    with (
        pytest.raises(MgralError, match=r"^image 5 has an embedding beyond .* float16; set embedding\.precision:"),
        writing_embeddings(tmp_path / "e.npz", 2, "float16") as add,
    ):
        add(Embeddings(IDS, vectors))
    assert not (tmp_path / "e.npz").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_are_finite(tmp_path: Path, value: float) -> None:
    good, bad = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    bad[1, 1] = value
    for vectors, objects, what in ((bad, None, "an embedding"), (good, bad, "a number of objects")):
        with pytest.raises(MgralError, match=f"^image {IDS[1]} has {what} that is not finite; train the detector"):
            Embeddings(IDS, vectors, objects)
    path = tmp_path / "embeddings.npz"
    np.savez(path, ids=IDS, vectors=bad)
    with pytest.raises(MgralError, match=rf"embeddings\.npz: image {IDS[1]} has an embedding that is not finite"):
        read_embeddings(path)


def test_an_image_without_embedding_is_named() -> None:
    embeddings = Embeddings(IDS, np.zeros((3, 2), np.float32))
    for missing in (int(IDS[0]) - 1, int(IDS[-1]) + 1):
        with pytest.raises(MgralError, match=rf"^image {missing} has no embedding; run `mgral embed` again"):
            embeddings.rows([int(IDS[1]), missing])


IDS = np.array([3, 5, 8])


def test_an_assessment_comes_back_in_the_same_bytes(tmp_path: Path) -> None:
    given = ImageScores(IDS, {"score": np.array([0.1, 1 / 3, -2.0]), "classes": np.arange(6.0).reshape(3, 2)})
    for name in ("first.npz", "second.npz"):
        write_image_scores(given, tmp_path / name)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    found = read_image_scores(tmp_path / "first.npz")
    np.testing.assert_array_equal(found.ids, IDS)
    assert list(found.terms) == ["score", "classes"]
    for name, term in given.terms.items():
        np.testing.assert_array_equal(found.terms[name], term)


def test_an_assessment_of_nothing(tmp_path: Path) -> None:
    nothing = ImageScores(np.zeros(0, np.int64), {"score": np.zeros(0), "classes": np.zeros((0, 3))})
    write_image_scores(nothing, tmp_path / "image_scores.npz")
    assert read_image_scores(tmp_path / "image_scores.npz").terms["classes"].shape == (0, 3)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"score": np.zeros(3)}, "has no array 'ids'; run `mgral score` again"),
        ({"ids": np.array([3, 8, 5])}, "its ids are not whole numbers in ascending order"),
        ({"ids": np.array([3.0, 5.0])}, "its ids are not whole numbers in ascending order"),
        ({"ids": IDS, "score": np.zeros(2)}, "array 'score' has no row of numbers for each of 3 images"),
        ({"ids": IDS, "score": np.array(["a", "b", "c"])}, "array 'score' has no row of numbers"),
        ({"ids": IDS, "score": np.array([0, np.nan, 0])}, "'score' of image 5 is not finite"),
        ({"ids": IDS, "score": np.array([None] * 3)}, "not a NumPy archive"),
    ],
)
def test_what_is_no_assessment_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    path = tmp_path / "image_scores.npz"
    np.savez(path, **arrays)
    with pytest.raises(MgralError, match=says):
        read_image_scores(path)


def test_an_array_alone_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", IDS)
    with pytest.raises(MgralError, match=r"ids\.npy: not a NumPy archive; run `mgral score` again"):
        read_image_scores(tmp_path / "ids.npy")


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(MgralError, match="'score' of image 8 is not finite; train the detector again"):
        write_image_scores(ImageScores(IDS, {"score": np.array([0, 1, np.inf])}), tmp_path / "image_scores.npz")
    assert not list(tmp_path.iterdir())
