"""Kinds of image files, from import to training input: each is seen as viewers show it, or refused in one line."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from mgral.config.schema import DatasetParams, Machine
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Pick
from mgral.data import image_cache, importing
from mgral.data.resizing import Resizing
from mgral.detection.device import prepare_device
from mgral.report import gallery

SIZE = (64, 48)
PLACES = ((12, 16), (12, 48), (36, 16), (36, 48))  # row and column in the middle of each quarter
COLOURS = ((230, 20, 20), (20, 230, 20), (20, 20, 230), (240, 240, 240))
GREYS = tuple((value,) * 3 for value in (83, 143, 44, 240))  # ITU-R 601-2 luma of the colours
BLACK_WHITE = tuple((value,) * 3 for value in (0, 255, 0, 255))  # of the greys, at 100


def array() -> np.ndarray:
    """[48, 64, 3] uint8: a quarter of each colour."""
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for (row, column), colour in zip(PLACES, COLOURS, strict=True):
        pixels[row - 12 : row + 12, column - 16 : column + 16] = colour
    return pixels


def picture(mode: str = "RGB") -> Picture.Image:
    return Picture.fromarray(array()).convert(mode)


def grey() -> np.ndarray:
    return np.asarray(picture("L"))


def faded(mode: str) -> Picture.Image:
    """With a blue quarter that nobody sees."""
    found = picture(mode)
    found.putalpha(Picture.fromarray(np.where(array()[..., 2] == 230, 0, 255).astype(np.uint8)))
    return found


def with_more(path: Path, **how: Any) -> None:
    """Two red pictures after the first."""
    more = [Picture.new("RGB", SIZE, (255, 0, 0)) for _ in range(2)]
    picture().save(path, save_all=True, append_images=more, **how)


def mpo(path: Path) -> None:
    """As cameras write it: another picture behind the first, which is turned by its EXIF orientation."""
    exif = Picture.Exif()
    exif[0x0112] = 6
    stored = picture().transpose(Picture.Transpose.ROTATE_90)
    stored.save(path, format="MPO", save_all=True, append_images=[Picture.new("RGB", SIZE)], exif=exif, quality=95)


def turned_palette(path: Path) -> None:
    picture().quantize(8).save(path, transparency=bytes([0] + [255] * 7))


def deep_png(values: np.ndarray, colour: int) -> Callable[[Path], None]:
    """A PNG of 16 bits a channel, which Pillow does not write in colour."""

    def write(path: Path) -> None:
        def chunk(kind: bytes, content: bytes) -> bytes:
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
        parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    return write


def deep_tiff(factor: int) -> Callable[[Path], None]:
    """A TIFF of 16 bits a channel in colour: no compression, one strip."""

    def write(path: Path) -> None:
        content = (array().astype("<u2") * factor).tobytes()
        more = 8 + 2 + 12 * 9 + 4
        short = {256: SIZE[0], 257: SIZE[1], 259: 1, 262: 2, 277: 3, 278: SIZE[1]}
        entries = {tag: struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in short.items()}
        entries[258] = struct.pack("<HHII", 258, 3, 3, more)
        entries[273] = struct.pack("<HHII", 273, 4, 1, more + 6)
        entries[279] = struct.pack("<HHII", 279, 4, 1, len(content))
        head = b"II*\0" + struct.pack("<IH", 8, 9) + b"".join(entries[tag] for tag in sorted(entries))
        path.write_bytes(head + struct.pack("<IHHH", 0, 16, 16, 16) + content)

    return write


@dataclass(frozen=True)
class Kind:
    """How a file is written, and the colours that it must show, or the words that refuse it.

    Attributes:
        write: to a path.
        right: a colour for each quarter, or a pattern of the refusal.
        says: a part of what the import says; None: nothing that need be said.
    """

    write: Callable[[Path], Any]
    right: tuple[tuple[int, ...], ...] | str = COLOURS
    says: str | None = None


DEEP, FIRST, SEEN = "more than 8 bits a channel", "several pictures; only the first", "transparent in part"
ONE_BIT = Picture.fromarray(grey() > 100)
LOW = "16 bits a channel and uses the lower ones alone"
KINDS = {
    "mpo.jpg": Kind(mpo),
    "cmyk.jpg": Kind(lambda path: picture("CMYK").save(path, quality=95)),
    "grey.jpg": Kind(lambda path: picture("L").save(path, quality=95), GREYS),
    "palette.png": Kind(lambda path: picture().quantize(8).save(path)),
    "palette-transparent.png": Kind(turned_palette, says=SEEN),
    "palette.tif": Kind(lambda path: picture().quantize(8).save(path)),
    "rgba.png": Kind(lambda path: faded("RGB").save(path), says=SEEN),
    "opaque.png": Kind(lambda path: picture("RGBA").save(path)),
    "la.png": Kind(lambda path: faded("L").save(path), GREYS, SEEN),
    "la.tif": Kind(lambda path: faded("L").save(path), GREYS, SEEN),
    "alpha.webp": Kind(lambda path: faded("RGB").save(path, lossless=True, exact=True), says=SEEN),
    "one.png": Kind(ONE_BIT.save, BLACK_WHITE),
    "one.tif": Kind(lambda path: ONE_BIT.save(path, compression="group4"), BLACK_WHITE),
    "one.bmp": Kind(ONE_BIT.save, BLACK_WHITE),
    "lab.tif": Kind(lambda path: picture("LAB").save(path)),
    "cmyk.tif": Kind(lambda path: picture("CMYK").save(path)),
    "ycbcr.tif": Kind(lambda path: picture("YCbCr").save(path)),
    "pages.tif": Kind(with_more, says=FIRST),
    "moving.gif": Kind(with_more, says=FIRST),
    "moving.webp": Kind(lambda path: with_more(path, lossless=True), says=FIRST),
    "moving.png": Kind(with_more, says=FIRST),
    "grey16.png": Kind(lambda path: Picture.fromarray(grey().astype(np.uint16) * 257).save(path), DEEP),
    "grey16.tif": Kind(lambda path: Picture.fromarray(grey().astype(np.uint16) * 257).save(path), DEEP),
    "grey16.jp2": Kind(lambda path: Picture.fromarray(grey().astype(np.uint16) * 257).save(path), DEEP),
    "grey32.tif": Kind(lambda path: Picture.fromarray(grey().astype(np.int32)).save(path), DEEP),
    "float.tif": Kind(lambda path: Picture.fromarray(grey().astype(np.float32)).save(path), DEEP),
    "colour16.png": Kind(deep_png(array().astype(np.uint16) * 257, 2)),
    "colour12in16.png": Kind(deep_png(array().astype(np.uint16) * 16, 2), LOW),
    "colour16.tif": Kind(deep_tiff(257)),
    "colour14in16.tif": Kind(deep_tiff(64), LOW),
}


def bring(root: Path) -> tuple[Dataset, str]:
    """Import a folder of images: the data set, and all that the import says."""
    given = {"format": "folder", "root": str(root), "on_invalid": "fail", "options": {"classes": ["car"]}}
    params = DatasetParams.parse({**given, "splits": {"val": 0, "test": 0, "seed": 0}}, "")
    dataset, info = importing.import_dataset(params)
    return dataset, "\n".join(importing.summary(dataset, info))


def differ(seen: np.ndarray, colours: tuple[tuple[int, ...], ...]) -> float:
    """The largest difference of a channel in the middle of a quarter; ``seen`` is [H, W, 3]."""
    steps = np.array(seen.shape[:2]) / SIZE[::-1]
    found = [seen[int(row * steps[0]), int(column * steps[1])] for row, column in PLACES]
    return float(np.abs(np.array(found, float) - np.array(colours)).max())


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_right_from_import_to_training_or_refused(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    root = tmp_path / "set"
    root.mkdir()
    kind.write(root / name)
    if isinstance(kind.right, str):
        with pytest.raises(MgralError, match=kind.right) as caught:
            bring(root)
        assert name in str(caught.value) and len(str(caught.value).splitlines()) == 1
        return
    dataset, said = bring(root)
    (id,) = dataset.images
    assert (dataset.images[id].width, dataset.images[id].height) == SIZE
    for words in (FIRST, SEEN):
        assert (words in said) == (words == kind.says), said

    resizing = Resizing("letterbox", 64)
    for decoded in (True, False):
        image_cache.build(dataset, resizing, tmp_path / "images.npy", decoded)
        pixels = image_cache.Cache(dataset, tmp_path / "images.npy").pixels([id])
        assert differ(pixels[0, : SIZE[1]], kind.right) < 12
        images = prepare_device(Machine(device="cpu", precision="fp32", threads=1)).images(pixels)
        assert differ(images[0].permute(1, 2, 0).numpy()[: SIZE[1]] * 255, kind.right) < 12

    picked = gallery._thumbnail(Pick(id, 1.0, {}), dataset, ["#00ff00"], 64)
    assert picked.data is not None
    seen = np.asarray(Picture.open(io.BytesIO(base64.b64decode(picked.data.partition(",")[2]))))
    assert seen.shape == (SIZE[1], SIZE[0], 3)
    assert differ(seen, kind.right) < 25  # a JPEG of quality 72
