"""Arrays between steps: embeddings, image scores, local patterns (NumPy archives, no pickles)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mgral.core import npz_stream
from mgral.core.errors import MgralError
from mgral.core.files import require_regular, whole
from mgral.core.npz_stream import DAMAGE
from mgral.core.types import Embeddings, Floats, Halfs, ImageScores, Ints, Patterns

MAPPED = 2**27
"""Bytes of embeddings from which on they are mapped from their file, not read."""

Precision = Literal["float32", "float16"]


@contextmanager
def writing_embeddings(
    path: str | Path, width: int, precision: Precision = "float32"
) -> Iterator[Callable[[Embeddings], None]]:
    """Write ``embeddings.npz``, ids [N] int64 and vectors [N, width] of a precision, a few images at a time.

    With them are sharpness and clipped share, ``quality`` [N, 2] float32, if all embeddings have them.

    Yields:
        A function that appends embeddings; their ids ascend from call to call. It raises MgralError for a number that
        is too large for the precision.
    """
    with npz_stream.writing(path, {"vectors": (precision, (width,))}) as archive:
        ids: list[Ints] = [np.zeros(0, np.int64)]
        qualities: list[Floats | None] = []

        def add(part: Embeddings) -> None:
            large = np.abs(part.vectors).max(axis=1, initial=0) > np.finfo(precision).max
            if large.any():
                raise MgralError(
                    f"image {part.ids[large.argmax()]} has an embedding beyond the numbers of {precision}; set "
                    "embedding.precision: float32"
                )
            ids.append(part.ids)
            qualities.append(part.quality)
            archive.add("vectors", part.vectors)

        yield add
        archive.arrays["ids"] = np.concatenate(ids)
        measured = [quality for quality in qualities if quality is not None]
        if measured and len(measured) == len(qualities):
            archive.arrays["quality"] = np.concatenate(measured).astype(np.float32, copy=False)


def write_embeddings(embeddings: Embeddings, path: str | Path) -> None:
    """Write embeddings that are in memory; see :func:`writing_embeddings`."""
    with writing_embeddings(path, embeddings.vectors.shape[1]) as add:
        add(embeddings)


def read_embeddings(path: str | Path) -> Embeddings:
    """Read ``embeddings.npz``; map it where it is large, so that the pool need not fit in memory.

    Half precision stays what it is in the map, and becomes float32 where it is read.

    Raises:
        MgralError: it is missing, no such archive, or holds what is not finite.
    """
    data = read_arrays(path, "ids", "vectors", mapped="vectors", optional=("quality",))
    remedy = "run `mgral embed` again"
    check_ids(data["ids"], str(path), remedy)
    vectors = data["vectors"]
    if vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float16) or len(vectors) != len(data["ids"]):
        raise MgralError(f"{path}: has no vector for each of {len(data['ids'])} images; {remedy}")
    quality = data.get("quality")
    if quality is not None and (quality.dtype != np.float32 or quality.shape != (len(data["ids"]), 2)):
        raise MgralError(f"{path}: has no sharpness and clipped share for each of {len(data['ids'])} images; {remedy}")
    try:
        mapped = isinstance(vectors.base, np.memmap)
        rows = vectors if mapped else vectors.astype(np.float32, copy=False)
        return Embeddings(data["ids"], rows, quality=quality)
    except MgralError as error:
        raise MgralError(f"{path}: {error}") from None


def write_foundation(ids: Sequence[int], vectors: Floats, patterns: Halfs, path: str | Path) -> None:
    """Write ids [N], ascending, vectors [N, 256] and local patterns [N, K, 256]; K is 0 where nobody asked for them."""
    write_arrays(path, {"ids": np.asarray(ids, np.int64), "vectors": vectors, "patterns": patterns})


def read_patterns(path: str | Path) -> Patterns:
    """Read the local patterns of ``foundation.npz``.

    Raises:
        MgralError: it is missing, no such archive, without patterns, or holds what is not finite.
    """
    data, remedy = (
        read_arrays(path, "ids", "patterns", verb="foundation-features"),
        "run `mgral foundation-features` again",
    )
    check_ids(data["ids"], str(path), remedy)
    patterns = data["patterns"]
    if patterns.ndim != 3 or patterns.dtype != np.float16 or len(patterns) != len(data["ids"]) or not patterns.shape[1]:
        raise MgralError(f"{path}: has no local patterns for each image; {remedy} with --patterns")
    if not np.isfinite(patterns).all():
        raise MgralError(f"{path}: holds local patterns that are not finite; {remedy}")
    return Patterns(data["ids"], patterns)


def write_image_scores(image_scores: ImageScores, path: str | Path) -> None:
    """Write ids [N] int64 and each term [N, …] float64 under its name.

    Raises:
        MgralError: it is not as :class:`mgral.core.types.ImageScores` says.
    """
    _check_image_scores(image_scores, str(path), "train the detector again")
    write_arrays(path, {"ids": image_scores.ids, **image_scores.terms})


def read_image_scores(path: str | Path) -> ImageScores:
    """Read ``image_scores.npz``. Raises MgralError if it is missing or no such archive."""
    terms = read_arrays(path, "ids", verb="score", others=True)
    image_scores = ImageScores(terms.pop("ids"), terms)
    _check_image_scores(image_scores, str(path), "run `mgral score` again")
    return image_scores


def _check_image_scores(image_scores: ImageScores, path: str, remedy: str) -> None:
    ids = image_scores.ids
    check_ids(ids, path, remedy)
    for name, term in image_scores.terms.items():
        if term.dtype != np.float64 or term.shape[:1] != ids.shape:
            raise MgralError(f"{path}: array '{name}' has no row of numbers for each of {len(ids)} images; {remedy}")
        unfit = np.argwhere(~np.isfinite(term))
        if len(unfit):
            raise MgralError(f"{path}: '{name}' of image {ids[unfit[0, 0]]} is not finite; {remedy}")


def check_ids(ids: Ints, path: str, remedy: str) -> None:
    """Refuse what are no ids in ascending order. Raises MgralError."""
    if ids.dtype != np.int64 or ids.ndim != 1 or (np.diff(ids) <= 0).any():
        raise MgralError(f"{path}: its ids are not whole numbers in ascending order; {remedy}")


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _require(names: Iterable[str], archive: Container[str], path: str | Path, verb: str) -> None:
    missing = [name for name in names if name not in archive]
    if missing:
        raise MgralError(f"{path}: has no array '{missing[0]}'; run `mgral {verb}` again")


def read_arrays(
    path: str | Path,
    *names: str,
    verb: str = "embed",
    others: bool = False,
    mapped: str | None = None,
    optional: Sequence[str] = (),
) -> dict[str, Any]:
    """The arrays of some names, or with ``others`` all there are; ``verb`` makes the file.

    Of a large file the array ``mapped`` is mapped. Those ``optional`` are read where there are any.

    Raises:
        MgralError: the file is missing, no such archive, or lacks one of the names.
    """
    try:
        require_regular(path)
        if mapped is not None and Path(path).stat().st_size > MAPPED:
            reader = npz_stream.Reader(path)
            _require(names, reader, path, verb)
            wanted = [*names, *(name for name in optional if name in reader)]
            return {name: reader.mapped(name) if name == mapped else reader.whole(name) for name in wanted}
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError
        with loaded as archive:
            _require(names, archive, path, verb)
            wanted = [*names, *(name for name in optional if name in archive)]
            return {name: archive[name] for name in (archive if others else wanted)}
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral {verb}`") from None
    except DAMAGE:
        raise MgralError(f"{path}: not a NumPy archive; run `mgral {verb}` again") from None
