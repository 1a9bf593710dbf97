"""Image files: names that stay below their root, and the one place that opens and decodes them.

Every reader of pixels (import, decoded-image cache, gallery) goes through :func:`opened` and :func:`turn`, so all of
them see an image as a viewer shows it: turned as its EXIF orientation says, its first frame.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import PIL.Image

from mgral.core.files import require_regular
from mgral.data import pixel_values

FORMATS = (
    *("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000"),
    *("PPM", "TGA", "PCX", "SGI", "DDS", "QOI", "ICO"),
)
"""What is decoded. Formats that start another program (EPS) or hold no picture of their own are not among them."""

MAX_PIXELS = 178_956_970
"""Pixels of the largest image that is decoded unless ``dataset.max_pixels`` says otherwise: Pillow's own limit."""

NOT_READ = frozenset({".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raw", ".psd", ".svg", ".jxl", ".eps"})
"""Suffixes of pictures that cannot be decoded here: such files are passed over and counted."""

_NOT_PICTURES = frozenset({".ico", ".icb", ".vda", ".vst", ".j2c", ".jpc"})


@cache
def suffixes() -> frozenset[str]:
    """Files that count as images when a folder is searched, in lower or upper case: all that Pillow decodes.

    Asked when needed: Pillow imports all its decoders for the answer.
    """
    known = {suffix for suffix, kind in PIL.Image.registered_extensions().items() if kind in {*FORMATS, "MPO"}}
    return frozenset(known | {".jpg", ".jpeg", ".jfif"}) - _NOT_PICTURES


UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ZeroDivisionError,
    OverflowError,
    MemoryError,
    PIL.Image.DecompressionBombError,
)  # what Pillow's decoders raise on damaged files; NotImplementedError is a RuntimeError

_PLAIN = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}  # what undoes each value of EXIF's tag Orientation (EXIF 2.32, 4.6.4 A)
_ORIENTATION = 0x0112
_ORIENTED = frozenset({"exif", "xmp", "Raw profile type exif"})  # where a JPEG may say its orientation


_PLAIN_NAME = re.compile(r"(?:[^./\\:\0][^/\\:\0]*/)*[^./\\:\0][^/\\:\0]*")  # most names; paths are slow objects


class OutsideError(Exception):
    """A file name that leaves the image root."""


@dataclass(frozen=True)
class Facts:
    """What is known of an image after it was decoded to its last byte.

    Attributes:
        size: width and height in pixels as shown: the EXIF orientation is applied.
        stored: width and height as stored.
        frames: pictures in the file; the first is used.
        digest: of the file's bytes; the same for copies of one file.
        transparent: whether a pixel is not fully opaque; its colour is taken without regard to that.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    frames: int
    digest: bytes
    transparent: bool


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
    posix = plain(name)
    try:
        path = (root / posix).resolve()
    except (OSError, RuntimeError, ValueError):  # a ring of links, or no file name at all: nothing will be found there
        path = root.resolve() / posix
    if not path.is_relative_to(root.resolve()):
        raise OutsideError(name)
    return posix, path


def plain(name: str) -> str:
    """A relative name without ``.`` parts. Raises OutsideError if it is absolute or climbs with ``..``."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in posix.parts or ".." in windows.parts:
        raise OutsideError(name)
    return posix.as_posix()


def bare(name: str) -> str:
    """The file name alone, of a path with slashes of either kind."""
    return PureWindowsPath(name).name


def parted(name: str) -> tuple[str, str]:
    """A path without its suffix, and the suffix.

    >>> parted("a.b/c.d.jpg"), parted("a.b/c")
    (('a.b/c.d', '.jpg'), ('a.b/c', ''))
    """
    suffix = PurePosixPath(name).suffix
    return (name[: -len(suffix)], suffix) if suffix else (name, "")


def is_image(path: Path | PurePosixPath) -> bool:
    """Whether a file counts as an image by its suffix."""
    return path.suffix.lower() in suffixes()


@contextmanager
def opened(
    source: Path | BinaryIO, max_pixels: int | None = None, draft: int | None = None
) -> Iterator[PIL.Image.Image]:
    """An image file, open and decoded, not yet turned.

    Args:
        source: path of a regular file, or its content.
        max_pixels: refuse more than these; None for no limit (an image that import has admitted).
        draft: side in pixels; a JPEG may then decode at a fraction of its size, not below this side.

    Raises:
        OSError, or another of ``UNREADABLE``: missing, no image of ``FORMATS``, damaged, or too large.
    """
    if isinstance(source, Path):
        require_regular(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata: what matters is whether the pixels can be read
        limit = PIL.Image.MAX_IMAGE_PIXELS
        PIL.Image.MAX_IMAGE_PIXELS = None  # the limit is the caller's
        try:
            image = PIL.Image.open(source, formats=FORMATS)
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
        with image:
            pixels = image.width * image.height
            if max_pixels is not None and pixels > max_pixels:
                raise ValueError(
                    f"has {pixels} pixels, dataset.max_pixels allows {max_pixels}; raise it to take the image"
                )
            if draft is not None:
                image.draft("RGB", (draft, draft))
            image.load()
            yield image


def orientation(image: PIL.Image.Image) -> int:
    """EXIF orientation of a decoded image, 1 to 8; 1 where the file gives none that is valid.

    Pillow turns a TIFF itself while it decodes it, and says 1 afterwards.
    """
    if image.format == "JPEG" and not _ORIENTED.intersection(image.info):
        return 1  # looking through empty metadata takes a quarter of the time of a small image
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return value if value in _TURNS else 1


def turn(pixels: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    """The picture as it is to be shown."""
    return pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels


def shown(path: Path, size: tuple[int, int] | None = None) -> PIL.Image.Image:
    """An image as RGB, turned as it is to be shown; with ``size`` resized to that width and height.

    ``size`` has the image's own shape, or is a square; a JPEG is decoded no larger than it needs.

    Raises:
        OSError, or another of ``UNREADABLE``.
    """
    with opened(path, draft=min(size) if size else None) as image:
        turned = orientation(image)
        picture = image.convert("RGB")
        if size is not None:
            picture = resized(picture, size[::-1] if turned >= 5 else size)
        return turn(picture, turned)


def resized(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A picture at another width and height."""
    return picture.resize(size, PIL.Image.Resampling.BILINEAR, reducing_gap=3.0)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height as shown, from the header alone. Raises OSError, or another of ``UNREADABLE``."""
    require_regular(path)
    with PIL.Image.open(path, formats=FORMATS) as image:
        width, height = image.size
        turned = image.format != "TIFF" and orientation(image) >= 5
    return (height, width) if turned else (width, height)


def examine(path: str | Path, max_pixels: int = MAX_PIXELS) -> Facts:
    """Decode an image to its last byte, so that a cut-off file is found now and not after hours of training.

    Raises:
        ValueError: the file is missing, no whole image, or one whose values do not fit in 8 bits; says which.
    """
    try:
        require_regular(path)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (of every image: a Path takes as long as its decoding)
            content = file.readall()
        with opened(io.BytesIO(content), max_pixels) as image:
            size = image.size
            unfit = pixel_values.unfit(image, content)
            if image.mode not in _PLAIN and not unfit:
                image.convert("RGB")  # what import admits, the cache can decode
            transparent = pixel_values.is_transparent(image)
            frames = _frames(image)
            turned = orientation(image) >= 5
            kind = image.format
            before = _stored(image) if kind == "TIFF" else size
        digest = hashlib.blake2b(content, digest_size=16).digest()
    except FileNotFoundError:
        raise ValueError("image file is missing") from None
    except PIL.UnidentifiedImageError:
        raise ValueError(f"not an image file{_link_as_text(path)}") from None
    except UNREADABLE as error:
        if str(error).startswith("has ") and "dataset.max_pixels" in str(error):
            raise ValueError(str(error)) from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"image cannot be read ({reason})") from None
    if unfit:
        raise ValueError(unfit)
    if turned:
        return Facts((size[1], size[0]), size, frames, digest, transparent)
    return Facts(size, before, frames, digest, transparent)


def _stored(image: PIL.Image.Image) -> tuple[int, int]:
    """Sides of a TIFF before Pillow turned it."""
    tags = getattr(image, "tag_v2", {})
    try:
        return int(tags[256]), int(tags[257])
    except (KeyError, TypeError, ValueError):
        return image.size


def _frames(image: PIL.Image.Image) -> int:
    """Pictures in the file; the previews that cameras append (MPO) are none."""
    if image.format == "MPO":
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except UNREADABLE:
        return 1


def _link_as_text(path: str | Path) -> str:
    """A hint for a link that was checked out or copied as a small text file holding its target."""
    try:
        content = Path(path).read_bytes()[:300]
    except OSError:
        return ""
    one_word = len(content) < 300 and content.isascii() and b"/" in content and len(content.split()) == 1
    if one_word and b"<" not in content:  # as pages of servers that had no such file begin
        return " but a link kept as text: get the files themselves (git lfs pull, dvc pull, git annex get)"
    return " but a pointer of Git LFS: run git lfs pull" if content.startswith(b"version https://git-lfs") else ""


def is_name(value: Any) -> bool:
    """Whether a value can be a file name or a class name: text that is not blank and fits on one line."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
