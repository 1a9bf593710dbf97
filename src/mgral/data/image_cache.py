"""Images at the detector's input size: decoded once into a memory map, or read from their files each time.

Where a data set's large images are cut (:mod:`mgral.data.tiles`), an input is a tile. :meth:`Cache.inputs` names the
inputs of an image; all else here is asked for inputs. Without tiles an image is one input, and both ids are the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from tqdm import tqdm

from mgral.core import boxes as geometry
from mgral.core.errors import MgralError
from mgral.core.files import require_regular, whole
from mgral.core.read_ahead import ahead
from mgral.core.types import Bools, Boxes, Dataset, Floats, Image
from mgral.data import image_files, tiles
from mgral.data.resizing import Resizing

GREY = 128  # of 255, around an image that does not fill the input
AHEAD = 2  # batches that the thread, or each process, which reads files holds ready
Pixels = npt.NDArray[np.uint8]


def build(dataset: Dataset, resizing: Resizing | int, path: str | Path, decoded: bool = True) -> None:
    """Write the cache: uint8 [N, S, S, 3] RGB, rows in ascending order of id; without ``decoded`` it has no rows.

    A number for ``resizing`` squashes to that side. Squash keeps the plain array of earlier versions; of another rule
    the array's one field has the name, so that the file says how its images were resized.

    Raises:
        MgralError: an image is missing or unreadable (names file and id), or the disk is full.
    """
    resizing = Resizing("squash", resizing) if isinstance(resizing, int) else resizing
    dataset, _ = tiles.cut(dataset)
    side = resizing.side(dataset)
    with whole(path) as temporary, temporary.open("wb") as file:
        shape = (len(dataset.images) if decoded else 0, side, side, 3)
        descr = "|u1" if resizing.mode == "squash" else [(resizing.name, "|u1")]
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for image in tqdm(dataset.images.values() if decoded else (), "decoding", disable=None):
            file.write(decode(dataset.root, image, resizing, side).data)


def decode(root: Path, image: Image, resizing: Resizing, side: int) -> Pixels:
    """One image as uint8 [side, side, 3] RGB, turned as EXIF says, in the upper left corner.

    Raises:
        MgralError: it cannot be read, or is of another size than the data set says.
    """
    path = root / image.file_name
    remedy = "restore the file or import the data set again"
    try:
        if image.tile is not None:
            pixels = np.asarray(image_files.resized(part(path, image), resizing.shape(image)))
        elif image_files.size_of(path) == (image.width, image.height):
            pixels = np.asarray(image_files.shown(path, resizing.shape(image)))
        else:
            raise MgralError(
                f"{path}: image {image.id}: not {image.width} x {image.height} pixels as in the data set; {remedy}"
            )
    except image_files.UNREADABLE as error:
        reason = "cannot be decoded"
        if isinstance(error, OSError) and error.strerror:  # Pillow's own have none
            reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise MgralError(f"{path}: image {image.id}: {reason}; {remedy}") from None
    if pixels.shape[:2] == (side, side):
        return pixels
    padded = np.full((side, side, 3), GREY, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded


def part(path: Path, tile: Image) -> PIL.Image.Image:
    """The pixels of a tile. Raises MgralError, OSError, or another of ``image_files.UNREADABLE``."""
    source, x, y = tile.tile or (tile.id, 0, 0)
    picture = _last_read(path, path.stat().st_mtime_ns)
    right, lower = x + tile.width, y + tile.height
    if right > picture.width or lower > picture.height:
        raise MgralError(
            f"{path}: image {source}: {picture.width} x {picture.height} pixels, not the data set's; restore the file "
            "or import the data set again"
        )
    return picture.crop((x, y, right, lower))


@lru_cache(maxsize=1)
def _last_read(path: Path, changed: int) -> PIL.Image.Image:
    """A whole image as RGB. The last one is kept: its tiles are mostly asked for one after the other."""
    return image_files.shown(path)


class Cache:
    """Images and boxes of a data set at the detector's input size.

    Attributes:
        size: side of the square input, pixels.
        resizing: how images become it.
        decoded: whether pixels are read from the cache; else from the image files, as are those of images that joined
            after it was made.
    """

    def __init__(self, dataset: Dataset, path: str | Path, workers: int = 0) -> None:
        """Open a cache.

        Args:
            dataset: what it was made of.
            path: of the file.
            workers: processes that read image files ahead, where the cache holds no pixels; 0: this one.

        Raises:
            MgralError: missing, damaged, of another number of images or another size, or one that joined later does
                not fit.
        """
        dataset, self._parts = tiles.cut(dataset)
        try:
            require_regular(path)
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise MgralError(f"{path}: no such file; make it with `mgral cache`") from None
        except (ValueError, OSError, EOFError, SyntaxError, TypeError):
            raise MgralError(f"{path}: not a NumPy array; run `mgral cache` again") from None
        if not isinstance(array, np.ndarray) or array.ndim != 4:
            raise MgralError(f"{path}: not a cache of images; run `mgral cache` again")
        self.size = int(array.shape[1])
        name = f"squash_{self.size}" if array.dtype == np.uint8 else (array.dtype.names or ("",))[0]
        resizing = Resizing.named(name)
        if resizing is None or array.shape[2:] != (self.size, 3) or array.dtype.itemsize != 1:
            raise MgralError(f"{path}: not a cache of images; run `mgral cache` again")
        first = [image_id for image_id, image in dataset.images.items() if not image.since]
        if len(array) not in (0, len(first)):
            raise MgralError(f"{path}: holds {len(array)} images, the data set {len(first)}; run `mgral cache` again")
        later = [image for image in dataset.images.values() if image.since]
        large = [image for image in later if max(resizing.shape(image)) > self.size]
        if large:
            raise MgralError(
                f"image {large[0].id} ({large[0].file_name}) joined later and does not fit the run's input of "
                f"{self.size} pixels; leave it out, or begin another run with it"
            )
        there = replace(dataset, images={i: dataset.images[i] for i in first}) if later else dataset
        if resizing.side(there) != self.size:
            raise MgralError(f"{path}: made of another data set; run `mgral cache` again")
        self.resizing, self.decoded, self._workers = resizing, len(array) > 0, workers
        self._array: Pixels = array.view(np.uint8) if array.dtype.names is None else array[name]
        self._path, self._start = Path(path), Path(path).stat().st_size - array.nbytes
        self._dataset = dataset
        self._row = {image_id: row for row, image_id in enumerate(first)}

    def inputs(self, ids: Iterable[int]) -> list[int]:
        """The ids of the inputs of images, in the images' order: of an image that is cut its tiles, row by row."""
        return [part for i in ids for part in self._parts[i]]

    def image_of(self, part: int) -> Image:
        """An input: an image, or a tile."""
        return self._dataset.images[part]

    def pixels(self, ids: Sequence[int]) -> Pixels:
        """[len(ids), size, size, 3] uint8 RGB, in the order asked for. Raises MgralError as :func:`decode` does."""
        if self.decoded and all(i in self._row for i in ids):
            chosen: Pixels = self._array[[self._row[i] for i in ids]]
            return chosen
        if self.decoded:
            return np.stack([self._one(i) for i in ids])
        root, images = self._dataset.root, self._dataset.images
        read = [decode(root, images[i], self.resizing, self.size) for i in ids]
        return np.stack(read) if read else np.zeros((0, self.size, self.size, 3), np.uint8)

    def _one(self, image_id: int) -> Pixels:
        """One image, from its file if it joined after the cache was made."""
        if image_id in self._row:
            kept: Pixels = self._array[self._row[image_id]]
            return kept
        return decode(self._dataset.root, self._dataset.images[image_id], self.resizing, self.size)

    def stream(
        self, batches: Iterable[Sequence[int]], empty: Callable[[int], Pixels] | None = None
    ) -> Generator[Pixels]:
        """What :meth:`pixels` says of each batch in turn, read ahead.

        Decoded pixels are read by a thread, which takes no part in what Python computes meanwhile; image files by
        worker processes. Close the iterator, or take all: the thread ends with it.

        Args:
            batches: ids; taken a few ahead, in that thread.
            empty: memory for so many images, [n, size, size, 3] uint8, into which decoded ones are read; None: NumPy's.

        Raises:
            MgralError: as :meth:`pixels`, or the cache can no longer be read.
        """
        if self.decoded and hasattr(os, "preadv"):
            with closing(ahead(self._read(batches, empty or self._empty), AHEAD)) as read:
                yield from read
            return
        if self.decoded or not self._workers:
            yield from map(self.pixels, batches)
            return
        import torch
        from torch.utils.data import DataLoader

        loader: DataLoader[Any] = DataLoader(
            _Answers(self),  # type: ignore[arg-type]  # torch's Dataset has no protocol, and importing it here is slow
            batch_sampler=(list(batch) for batch in batches),
            collate_fn=list,
            num_workers=self._workers,
            prefetch_factor=AHEAD,
            generator=torch.Generator(),  # torch's own is left as it is; nothing here is random
        )
        for found in loader:
            failed = [one for one in found if isinstance(one, MgralError)]
            if failed:
                raise failed[0]
            yield np.stack(found)

    def _empty(self, count: int) -> Pixels:
        return np.empty((count, self.size, self.size, 3), np.uint8)

    def _read(self, batches: Iterable[Sequence[int]], empty: Callable[[int], Pixels]) -> Generator[Pixels]:
        """The batches, by calls that let other threads of Python go on, as page faults of a mapped file do not."""
        with self._path.open("rb", buffering=0) as file:
            for ids in batches:
                pixels = empty(len(ids))
                for place, image_id in zip(pixels, ids, strict=True):
                    if image_id in self._row:
                        self._read_into(place, file.fileno(), image_id)
                    else:  # it joined after the cache was made
                        place[:] = self._one(image_id)
                yield pixels

    def _read_into(self, place: Pixels, file: int, image_id: int) -> None:
        """One decoded image, [size, size, 3]. Raises MgralError if the file is shorter than it was, or fails."""
        try:
            count = os.preadv(file, [place.reshape(-1).data], self._start + self._row[image_id] * place.size)
        except OSError as error:
            raise MgralError(f"{self._path}: image {image_id}: {error.strerror}; run `mgral cache` again") from None
        if count != place.size:
            raise MgralError(f"{self._path}: ends before image {image_id}; run `mgral cache` again")

    def extent(self, ids: Sequence[int]) -> Floats | None:
        """[len(ids), 2] the share of the input, 0..1, that images fill from the left and from above; None: all."""
        if self.resizing.mode == "squash":
            return None
        shapes = [self.resizing.shape(self._dataset.images[i]) for i in ids]
        return np.asarray(shapes, np.float32).reshape(-1, 2) / np.float32(self.size)

    def scale(self, image_id: int) -> Floats:
        """[4] float32: pixels of the original image to pixels of the input, for x, y, x, y."""
        image = self._dataset.images[image_id]
        width, height = self.resizing.shape(image)
        x, y = width / image.width, height / image.height
        return np.asarray([x, y, x, y], np.float32)

    def to_original(self, xyxy: Floats, image_id: int) -> tuple[Floats, Bools]:
        """[n, 4] boxes in pixels of the input, in pixels of the original image, and [n] which have area in it.

        Of an image that does not fill the input they are clipped to it.
        """
        boxes: Floats = (xyxy / self.scale(image_id)).astype(np.float32)
        if self.resizing.mode == "squash":
            return boxes, np.ones(len(boxes), np.bool_)
        image = self._dataset.images[image_id]
        boxes = geometry.clip(boxes, image.width, image.height).astype(np.float32)
        return boxes, np.asarray((boxes[:, 2:] > boxes[:, :2]).all(axis=1), np.bool_)

    def boxes(self, image_id: int) -> Boxes:
        """Ground truth in pixels of the input. Raises MgralError as :meth:`truth`."""
        boxes = self.truth(image_id)
        return Boxes(boxes.xyxy * self.scale(image_id), boxes.labels, boxes.ignore)

    def truth(self, image_id: int) -> Boxes:
        """Ground truth in pixels of the original image, or of the tile.

        Raises:
            MgralError: the image is not annotated, which is not the same as one without objects.
        """
        boxes = self._dataset.boxes.get(image_id)
        if boxes is None:
            name = self._dataset.images[image_id].file_name
            raise MgralError(f"image {image_id} ({name}) is not annotated; annotate it and import the data set again")
        return boxes


class _Answers:
    """A data set of torch: images by id, or why one cannot be read."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __getitem__(self, image_id: int) -> Pixels | MgralError:
        try:
            pixels: Pixels = self._cache.pixels([image_id])[0]
            return pixels
        except MgralError as error:  # raised in the process that asks, where it is one line
            return error
