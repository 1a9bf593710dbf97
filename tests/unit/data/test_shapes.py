"""Images that keep their shape: in the cache, from files, and augmented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.data.augmentation import augment
from mgral.data.image_cache import GREY, Cache
from mgral.data.resizing import Resizing

RULES = [Resizing("squash", 64), Resizing("letterbox", 64), Resizing("shortest_edge", 64, 200)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A wide and a tall image and one that a camera turned, each black with a white object."""
    images, boxes = {}, {}
    for i, (width, height) in enumerate([(128, 64), (48, 96), (96, 48)], start=1):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[16:40, 8:20] = 255
        stored = Pillow.fromarray(pixels)
        exif = Pillow.Exif()
        if i == 3:  # as shown: its first column is the picture's last row
            stored = stored.transpose(Pillow.Transpose.ROTATE_90)
            exif[0x0112] = 6
        stored.save(tmp_path / f"{i}.png", exif=exif)
        images[i] = Image(i, f"{i}.png", width, height, "train")
        boxes[i] = Boxes(np.array([[8, 16, 20, 40]], np.float32), np.array([0]), np.array([False]))
    return Dataset(("object",), images, boxes, tmp_path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.mode)
def test_boxes_follow_pixels_and_the_rest_is_grey(dataset: Dataset, rule: Resizing, tmp_path: Path) -> None:
    image_cache.build(dataset, rule, tmp_path / "images.npy")
    cache = Cache(dataset, tmp_path / "images.npy")
    assert cache.resizing == rule
    assert cache.size == {"squash": 64, "letterbox": 64, "shortest_edge": 128}[rule.mode]
    for i, image in dataset.images.items():
        pixels, (width, height) = cache.pixels([i])[0], rule.shape(image)
        outside = pixels.copy()
        outside[:height, :width] = GREY
        assert (outside == GREY).all()
        x1, y1, x2, y2 = cache.boxes(i).xyxy[0]
        bright = np.argwhere((pixels[..., 0] > 160)[:height, :width])
        np.testing.assert_allclose([*bright.min(0)[::-1], *(bright.max(0)[::-1] + 1)], [x1, y1, x2, y2], atol=1.01)
        back, inside = cache.to_original(cache.boxes(i).xyxy, i)
        np.testing.assert_allclose(back, dataset.boxes[i].xyxy, rtol=1e-5)
        assert inside.all()
    share = cache.extent([2])
    if share is not None:
        np.testing.assert_allclose(share[0] * cache.size, rule.shape(dataset.images[2]))


def test_a_box_in_the_padding_is_none(dataset: Dataset, tmp_path: Path) -> None:
    image_cache.build(dataset, Resizing("letterbox", 64), tmp_path / "images.npy")
    cache = Cache(dataset, tmp_path / "images.npy")  # image 1 fills the upper half
    found, inside = cache.to_original(np.array([[0, 10, 64, 40], [0, 40, 64, 64]], np.float32), 1)
    assert inside.tolist() == [True, False]
    assert found[0].tolist() == [0, 20, 128, 64]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.mode)
@pytest.mark.parametrize("workers", [0, 2])
def test_files_give_what_the_decoded_cache_gives(
    dataset: Dataset, rule: Resizing, workers: int, tmp_path: Path
) -> None:
    image_cache.build(dataset, rule, tmp_path / "decoded.npy")
    image_cache.build(dataset, rule, tmp_path / "none.npy", decoded=False)
    assert (tmp_path / "none.npy").stat().st_size < 300
    decoded, none = Cache(dataset, tmp_path / "decoded.npy"), Cache(dataset, tmp_path / "none.npy", workers)
    assert decoded.decoded and not none.decoded and none.size == decoded.size
    batches = [[3, 1], [2, 2], [1]]
    state = torch.random.get_rng_state()
    streamed = list(none.stream(batches))
    assert torch.equal(state, torch.random.get_rng_state())
    for batch, pixels in zip(batches, streamed, strict=True):
        np.testing.assert_array_equal(pixels, decoded.pixels(batch))
        np.testing.assert_array_equal(pixels, none.pixels(batch))
    assert none.pixels([]).shape == (0, none.size, none.size, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_is_gone_is_named(dataset: Dataset, workers: int, tmp_path: Path) -> None:
    image_cache.build(dataset, 64, tmp_path / "none.npy", decoded=False)
    (dataset.root / "2.png").unlink()
    stream = Cache(dataset, tmp_path / "none.npy", workers).stream([[1], [2, 3]])
    next(stream)
    with pytest.raises(MgralError, match=r"2\.png: image 2: no such file; restore the file or import the data set"):
        next(stream)


def test_a_cache_of_images_of_other_shapes_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    image_cache.build(dataset, RULES[2], tmp_path / "images.npy")
    wider = {**dataset.images, 1: Image(1, "1.png", 400, 64, "train")}
    with pytest.raises(MgralError, match="made of another data set; run `mgral cache` again"):
        Cache(Dataset(dataset.classes, wider, dataset.boxes, dataset.root), tmp_path / "images.npy")


def test_augmentation_stays_within_the_image() -> None:
    """The object is where its box is, and nothing of the image is seen beyond the part that it fills."""
    size, extent = 96, np.array([[1.0, 0.5]] * 8, np.float32)
    images = torch.full((8, 3, size, size), GREY / 255)
    images[:, :, :48] = 0.0
    images[:, :, 12:36, 30:60] = 1.0
    box = Boxes(np.array([[30, 12, 60, 36]], np.float32), np.array([0]), np.array([False]))
    seen = 0
    for step in range(6):
        moved, boxes = augment(images, [box] * 8, random_streams.generator(step), extent)
        assert (moved[:, :, 48:] == 0.5).all()
        for image, found in zip(moved, boxes, strict=True):
            if not len(found):
                continue
            seen += 1
            x1, y1, x2, y2 = found.xyxy[0]
            assert 0 <= x1 < x2 <= size and 0 <= y1 < y2 <= 48
            inner = image[:, int(y1) + 2 : int(y2) - 2, int(x1) + 2 : int(x2) - 2]
            assert inner.numel() == 0 or inner.min() > 0.6
    assert seen > 30


def test_all_of_the_input_is_no_extent() -> None:
    """An image that fills the input is augmented alike whether that is said or not."""
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.random((4, 3, 64, 64), np.float32))
    box = Boxes(np.array([[10, 12, 40, 36]], np.float32), np.array([0]), np.array([False]))
    plain, plain_boxes = augment(images, [box] * 4, random_streams.generator(1))
    said, said_boxes = augment(images, [box] * 4, random_streams.generator(1), np.ones((4, 2), np.float32))
    assert torch.equal(plain, said)
    for one, other in zip(plain_boxes, said_boxes, strict=True):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
