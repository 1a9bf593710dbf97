"""Tiles as image files of their own, for a user's command, which reads files.

A tile is written once for a command, as PNG: the pixels of the original image, at no other size. Images that are not
cut are found through a link to the image root. The folder goes when the command has ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mgral.core.errors import MgralError
from mgral.core.files import whole
from mgral.core.types import Image
from mgral.data import image_cache, image_files

AT_ONCE = 2000  # tiles whose detections are asked for at once: this many lie on the disk


@contextmanager
def image_root(root: Path, inputs: Sequence[Image], folder: Path) -> Iterator[tuple[Path, list[Image]]]:
    """An image root below which each input is a file, and the inputs by their names there.

    Args:
        root: the image root of the data set.
        inputs: images and tiles; without tiles nothing is written, and the root stays what it is.
        folder: to be made for the tiles, and removed at the end. What a killed job left in it is written again.

    Raises:
        MgralError: an image cannot be read or is of another size than the data set says, or the disk is full.
    """
    if all(one.tile is None for one in inputs):
        yield root.resolve(), list(inputs)
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        (folder / "tiles").mkdir(parents=True)
        (folder / "images").symlink_to(root.resolve(), target_is_directory=True)
        yield folder, [_written(root, one, folder) for one in inputs]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(root: Path, one: Image, folder: Path) -> Image:
    """An input by its name below the folder; of a tile the file is written."""
    if one.tile is None:
        return replace(one, file_name=f"images/{one.file_name}")
    path = root / one.file_name
    try:
        picture = image_cache.part(path, one)
    except image_files.UNREADABLE as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "cannot be decoded"
        raise MgralError(
            f"{path}: image {one.tile[0]}: {reason}; restore the file or import the data set again"
        ) from None
    name = f"tiles/{one.id}.png"
    with whole(folder / name) as temporary:
        picture.save(temporary, compress_level=1)
    return replace(one, file_name=name)


def in_portions(parts: Sequence[Sequence[Image]], most: int) -> Iterator[slice]:
    """Images one after the other, so many at a time that they have at most ``most`` tiles, but one image at least.

    Args:
        parts: of each image its inputs.
        most: tiles of a portion.

    Yields:
        Positions of the images of a portion; of none, one empty portion.
    """
    begin, count = 0, 0
    for position, inputs in enumerate(parts):
        own = sum(one.tile is not None for one in inputs)
        if count + own > most and position > begin:
            yield slice(begin, position)
            begin, count = position, 0
        count += own
    yield slice(begin, len(parts))
