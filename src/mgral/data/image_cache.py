"""The decoded-image cache: every image of a data set decoded and resized once, then read from a memory map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mgral.core.errors import MgralError
from mgral.core.files import require_regular, whole
from mgral.core.types import Boxes, Dataset, Floats
from mgral.data import image_files


def build(dataset: Dataset, size: int, path: str | Path) -> None:
    """Write the cache: uint8 [N, size, size, 3] RGB, rows in ascending order of id.

    Images are squashed to a square (as SSD does), so a box is scaled by one factor per axis.

    Raises:
        MgralError: an image is missing or unreadable (names file and id), or the disk is full.
    """
    with whole(path) as temporary, temporary.open("wb") as file:
        shape = (len(dataset.images), size, size, 3)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for image in tqdm(dataset.images.values(), "decoding", disable=None):
            file.write(decode(dataset.root / image.file_name, size, image.id, (image.width, image.height)).data)


def decode(path: Path, size: int, image_id: int, shown: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """One image as uint8 [size, size, 3] RGB, turned as EXIF says.

    Args:
        path: of the image.
        size: side, pixels.
        image_id: for the message.
        shown: width and height that the data set gives; None: not checked.

    Raises:
        MgralError: it cannot be read, or is of another size.
    """
    remedy = "restore the file or import the data set again"
    try:
        if shown is not None and image_files.size_of(path) != shown:
            raise MgralError(
                f"{path}: image {image_id}: not {shown[0]} x {shown[1]} pixels as in the data set; {remedy}"
            )
        return np.asarray(image_files.shown(path, draft=size, square=size))
    except image_files.UNREADABLE as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "cannot be decoded"
        raise MgralError(f"{path}: image {image_id}: {reason}; {remedy}") from None


class Cache:
    """Images and boxes of a data set at the detector's input size.

    Attributes:
        size: side of the square input, pixels.
    """

    def __init__(self, dataset: Dataset, path: str | Path) -> None:
        """Open a cache.

        Raises:
            MgralError: missing, damaged, or of another number of images.
        """
        try:
            require_regular(path)
            self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise MgralError(f"{path}: no such file; make it with `mgral cache`") from None
        except (ValueError, OSError, EOFError, SyntaxError, TypeError):
            raise MgralError(f"{path}: not a NumPy array; run `mgral cache` again") from None
        if not isinstance(self._array, np.ndarray) or self._array.dtype != np.uint8 or self._array.ndim != 4:
            raise MgralError(f"{path}: not a cache of images; run `mgral cache` again")
        if len(self._array) != len(dataset.images):
            raise MgralError(
                f"{path}: holds {len(self._array)} images, the data set {len(dataset.images)}; run `mgral cache` again"
            )
        self.size = int(self._array.shape[1])
        self._dataset = dataset
        self._row = {image_id: row for row, image_id in enumerate(dataset.images)}

    def pixels(self, ids: Sequence[int]) -> npt.NDArray[np.uint8]:
        """[len(ids), size, size, 3] uint8 RGB, in the order asked for."""
        chosen: npt.NDArray[np.uint8] = self._array[[self._row[i] for i in ids]]
        return chosen

    def scale(self, image_id: int) -> Floats:
        """[4] float32: pixels of the original image to pixels of the input, for x, y, x, y."""
        image = self._dataset.images[image_id]
        x, y = self.size / image.width, self.size / image.height
        return np.asarray([x, y, x, y], np.float32)

    def boxes(self, image_id: int) -> Boxes:
        """Ground truth in pixels of the input.

        Raises:
            MgralError: the image is not annotated, which is not the same as one without objects.
        """
        boxes = self._dataset.boxes.get(image_id)
        if boxes is None:
            name = self._dataset.images[image_id].file_name
            raise MgralError(f"image {image_id} ({name}) is not annotated; annotate it and import the data set again")
        return Boxes(boxes.xyxy * self.scale(image_id), boxes.labels, boxes.ignore)
