"""All eight EXIF orientations of four formats: wherever pixels are read, an image is as a viewer shows it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from mgral.annotation.exchange import Batch, BatchImage, Prediction
from mgral.config.schema import DatasetParams
from mgral.core import plugins
from mgral.core.types import Boxes, Dataset, Image, Pick
from mgral.data import image_cache, image_files, importing
from mgral.data.identity import sha256_of
from mgral.data.resizing import Resizing
from mgral.report import gallery

ORIENTATION = 0x0112
SHOWN = (64, 32)  # pixels
RED = (4, 2, 24, 14)  # corners of the red part; the rest is blue
WAYS = [(number, suffix) for number in range(1, 9) for suffix in ("jpg", "png", "webp", "tiff")]


def shown() -> Picture.Image:
    """The picture as it is to be seen."""
    pixels = np.zeros((SHOWN[1], SHOWN[0], 3), np.uint8)
    pixels[:] = (20, 20, 230)
    pixels[RED[1] : RED[3], RED[0] : RED[2]] = (230, 20, 20)
    return Picture.fromarray(pixels)


def store(path: Path, orientation: int) -> None:
    """Write the picture so that the orientation turns what is stored into what is shown."""
    # EXIF 2.32, 4.6.4 A: what the first row and the first column of the stored picture are of the shown one
    pixels = np.asarray(shown())
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Picture.Exif()
    exif[ORIENTATION] = orientation
    how = {"quality": 95} if path.suffix != ".tiff" else {}
    Picture.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif, **how)


def is_red(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(int) > pixels[..., 2]


def inside(box: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape, bool)
    found[box[1] : box[3], box[0] : box[2]] = True
    return found


def dataset(path: Path) -> Dataset:
    truth = Boxes(np.array([RED], np.float32), np.array([0]), np.array([False]))
    return Dataset(("red",), {1: Image(1, path.name, *SHOWN, "train")}, {1: truth}, path.parent)


@pytest.mark.parametrize(("orientation", "suffix"), WAYS)
def test_size_check_cache_gallery_and_export_agree(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    store(path, orientation)
    assert image_files.examine(path).size == SHOWN
    assert image_files.examine(path).stored == (SHOWN if orientation < 5 else SHOWN[::-1])
    assert image_files.size_of(path) == SHOWN

    cached = image_cache.decode(
        tmp_path, dataset(path).images[1], Resizing("squash", 64), 64
    )  # squashed to 64 x 64: twice as high
    # squashed to 64 x 64: twice as high
    part = is_red(cached) == inside((RED[0], 2 * RED[1], RED[2], 2 * RED[3]), (64, 64))
    assert part.mean() > 0.95

    picked = gallery._thumbnail(Pick(1, 1.0, {}), dataset(path), ["#00ff00"], 64)
    assert picked.data is not None
    seen = np.asarray(Picture.open(io.BytesIO(base64.b64decode(picked.data.partition(",")[2]))))
    assert seen.shape[:2] == (SHOWN[1], SHOWN[0])
    middle = seen[RED[1] + 3 : RED[3] - 3, RED[0] + 3 : RED[2] - 3]  # within the drawn frame
    assert is_red(middle).all()
    assert not is_red(seen[:, RED[2] + 4 :]).any()


@pytest.mark.parametrize(("orientation", "suffix"), WAYS)
@pytest.mark.parametrize("tool", ["coco", "yolo", "voc"])
def test_what_is_exported_is_imported_as_it_was(tool: str, orientation: int, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / f"a.{suffix}"
    store(path, orientation)
    predicted = Prediction("red", tuple(map(float, RED)), 0.9)  # type: ignore[arg-type]
    image = BatchImage(1, path.name, *SHOWN, sha256_of(path), 1, predictions=(predicted,))
    plugin = plugins.load("annotators", tool)
    plugin.export(Batch("e", 0, ("red",), path.parent, (image,)), tmp_path / "out", plugin.Options(predictions=True))

    given: dict[str, Any] = {"format": tool, "root": str(tmp_path / "out"), "on_invalid": "fail"}
    given["options"] = {"one_based": False} if tool == "voc" else {}  # tools write continuous corners
    made, _ = importing.import_dataset(DatasetParams.parse({**given, "splits": {"val": 0, "test": 0, "seed": 0}}, ""))
    ((id, one),) = made.images.items()
    assert (one.width, one.height) == SHOWN
    assert made.boxes[id].xyxy[0] == pytest.approx(RED, abs=0.02)
    seen = np.asarray(image_files.shown(made.root / one.file_name))
    assert (is_red(seen) == inside(RED, (SHOWN[1], SHOWN[0]))).mean() > 0.95
