"""Image files: names that stay below their root, and pixels that can be read to the end."""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import PIL.Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""Files that count as images when a folder is searched, in lower or upper case."""


UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    PIL.Image.DecompressionBombError,
)  # what Pillow's decoders raise; NotImplementedError is a RuntimeError


class OutsideError(Exception):
    """A file name that leaves the image root."""


def below(root: Path, name: str) -> tuple[str, Path]:
    """Where a file name from an annotation leads.

    Args:
        root: the image root.
        name: as given; forward slashes part folders.

    Returns:
        The name in its plainest form and the file it stands for, links resolved.

    Raises:
        OutsideError: the name is absolute, climbs with ``..`` or follows a link out of the root.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in posix.parts or ".." in windows.parts:
        raise OutsideError(name)
    try:
        path = (root / posix).resolve()
    except (OSError, RuntimeError, ValueError):  # a ring of links, or no file name at all: nothing will be found there
        path = root.resolve() / posix
    if not path.is_relative_to(root.resolve()):
        raise OutsideError(name)
    return posix.as_posix(), path


def in_folder(folder: Path) -> list[Path]:
    """All images at any depth below a folder, sorted by path; hidden files and folders are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as stored; EXIF orientation is not applied.

    The image is decoded to its last byte, so that a cut-off file is found now and not after hours of training.

    Raises:
        ValueError: the file is missing, no whole image, or one whose values do not fit in 8 bits; says which.
    """
    try:
        with PIL.Image.open(path) as image:
            image.load()
            size, mode = image.size, image.mode
    except FileNotFoundError:
        raise ValueError("image file is missing") from None
    except PIL.UnidentifiedImageError:
        raise ValueError("not an image file") from None
    except UNREADABLE as error:
        raise ValueError(f"image cannot be read ({error})") from None
    if mode.startswith(("I", "F")):  # decoding would clip its values to 0..255
        raise ValueError("image has more than 8 bits a channel; convert it to 8")
    return size


def is_name(value: Any) -> bool:
    """Whether a value can be a file name or a class name: text that is not blank and fits on one line."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
