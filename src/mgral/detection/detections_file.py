"""detections.npz: what a detector finds in the images of a pool, written and read image by image.

The detections of all images lie end to end; ``offsets`` [N + 1] marks where each image begins. Class probabilities (two
bytes a class) and features (128 bytes) are kept only where somebody reads them; else their arrays have no rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mgral.core import npz_stream
from mgral.core.errors import MgralError
from mgral.core.types import FEATURE_DIM, Activation, Detections, Ints
from mgral.detection.npz_files import check_ids

Kept = Literal["probabilities", "features"]
KEPT: tuple[Kept, ...] = get_args(Kept)

REMEDY = "run `mgral embed` again"

_ARRAYS = {  # kind of numbers and number of axes
    "ids": ("i", 1),
    "offsets": ("i", 1),
    "activation": ("U", 0),
    "classes": ("i", 0),
    "xyxy": ("f", 2),
    "scores": ("f", 1),
    "labels": ("i", 1),
    "probs": ("f", 2),
    "features": ("f", 2),
}


class Writer:
    """What :func:`writing` yields."""

    def __init__(self, archive: npz_stream.Writer, keep: Collection[str]) -> None:
        self._archive, self._keep = archive, keep
        self._ids: list[int] = []
        self._ends = [0]

    def add(self, detections: Mapping[int, Detections]) -> None:
        """Append the detections of some images. Ids ascend from call to call, and either all have features or none."""
        for i in sorted(detections):
            if self._ids and i <= self._ids[-1]:
                raise ValueError(f"image {i} comes after image {self._ids[-1]}")
            one = detections[i]
            for name in ("xyxy", "scores", "labels"):
                self._archive.add(name, getattr(one, name))
            if "probabilities" in self._keep:
                self._archive.add("probs", one.probs)
            if "features" in self._keep and one.features is not None:
                self._archive.add("features", one.features)
            self._ids.append(i)
            self._ends.append(self._ends[-1] + len(one))

    def index(self) -> dict[str, Ints]:
        """The images, and where each begins."""
        return {"ids": np.asarray(self._ids, np.int64), "offsets": np.asarray(self._ends, np.int64)}


@contextmanager
def writing(path: str | Path, activation: Activation, classes: int, keep: Collection[str] = KEPT) -> Iterator[Writer]:
    """Write ``detections.npz``, a few images at a time.

    Args:
        path: of the file; it takes its place whole, if the block succeeds.
        activation: what the class probabilities are.
        classes: C.
        keep: of :data:`KEPT`, what is written beside boxes, scores and labels.

    Raises:
        MgralError: the file cannot be written.
    """
    rows: dict[str, npz_stream.Row] = {
        "xyxy": (np.float32, (4,)),
        "scores": (np.float32, ()),
        "labels": (np.int32, ()),
        "probs": (np.float16, (classes + (activation == "softmax"),)),
        "features": (np.float16, (FEATURE_DIM,)),
    }
    with npz_stream.writing(path, rows) as archive:
        writer = Writer(archive, keep)
        yield writer
        archive.arrays = {**writer.index(), "activation": np.asarray(activation), "classes": np.asarray(classes)}


def write(
    path: str | Path,
    detections: Mapping[int, Detections],
    activation: Activation,
    classes: int,
    keep: Collection[str] = KEPT,
) -> None:
    """Write detections that are in memory; see :func:`writing`."""
    with writing(path, activation, classes, keep) as writer:
        writer.add(detections)


class StoredDetections(Mapping[int, Detections]):
    """The detections of a file by image id, ascending; each image's are read where they are asked for.

    Attributes:
        classes: C.
    """

    def __init__(self, archive: npz_stream.Reader) -> None:
        self._archive = archive
        self._ids: Ints = archive.whole("ids")
        self._offsets: Ints = archive.whole("offsets")
        self.classes = int(archive.whole("classes"))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        """The ids of the images."""
        return iter(self._ids.tolist())

    def __contains__(self, image: object) -> bool:
        """Whether the file has an entry of that image."""
        return isinstance(image, int | np.integer) and self._row(int(image)) is not None

    def __getitem__(self, image: int) -> Detections:
        """The detections of an image. Raises KeyError for one without an entry."""
        row = self._row(image)
        if row is None:
            raise KeyError(image)
        begin, end = self._offsets[row : row + 2].tolist()
        probs, features = self._kept("probs", begin, end), self._kept("features", begin, end)
        return Detections(
            self._archive.rows("xyxy", begin, end),
            self._archive.rows("scores", begin, end),
            self._archive.rows("labels", begin, end).astype(np.int64),
            np.zeros((end - begin, 0), np.float32) if probs is None else probs.astype(np.float32),
            features,
        )

    def _row(self, image: int) -> int | None:
        row = int(np.searchsorted(self._ids, image))
        return row if row < len(self._ids) and self._ids[row] == image else None

    def _kept(self, name: str, begin: int, end: int) -> npt.NDArray[np.float16] | None:
        return self._archive.rows(name, begin, end) if self._archive.shapes[name][0] else None


def read(path: str | Path) -> tuple[StoredDetections, Activation]:
    """Open ``detections.npz``.

    Raises:
        MgralError: it is missing, damaged or no such archive.
    """
    try:
        archive = npz_stream.Reader(path)
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral embed`") from None
    except npz_stream.DAMAGE:
        raise MgralError(f"{path}: not a NumPy archive; {REMEDY}") from None
    _check(archive, path)
    activation: Activation = archive.whole("activation").item()
    return StoredDetections(archive), activation


def _check(archive: npz_stream.Reader, path: str | Path) -> None:
    """Refuse arrays that are not those of :func:`writing`. Raises MgralError."""
    for name, (kind, axes) in _ARRAYS.items():
        if name not in archive:
            raise MgralError(f"{path}: has no array '{name}'; {REMEDY}")
        dtype, shape = archive.dtypes[name], archive.shapes[name]
        if dtype.kind != kind or len(shape) != axes:
            raise MgralError(f"{path}: array '{name}' is {dtype} {list(shape)}; {REMEDY}")
    ids, offsets = archive.whole("ids"), archive.whole("offsets")
    check_ids(ids, str(path), REMEDY)
    activation, classes = str(archive.whole("activation")), int(archive.whole("classes"))
    if activation not in get_args(Activation) or archive.shapes["xyxy"][1:] != (4,):
        raise MgralError(f"{path}: its activation or boxes are not those of a detector; {REMEDY}")
    total = int(offsets[-1]) if len(offsets) else -1
    lengths = {archive.shapes[name][0] for name in ("xyxy", "scores", "labels")}
    lengths |= {archive.shapes[name][0] or total for name in ("probs", "features")}
    ordered = len(offsets) == len(ids) + 1 and offsets[0] == 0 and bool((np.diff(offsets) >= 0).all())
    if not ordered or lengths != {total} or archive.shapes["probs"][1] != classes + (activation == "softmax"):
        raise MgralError(f"{path}: its arrays do not belong together; {REMEDY}")
