"""The decoded-image cache, and boxes that follow their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import augmentation, image_cache


@pytest.fixture
def dataset(tmp_path):
    """Two images: 40 x 20 red, and 10 x 10 with a blue right half."""
    Pillow.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.png")
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:, 5:, 2] = 255
    Pillow.fromarray(pixels).save(tmp_path / "b.png")
    boxes = Boxes(np.array([[10, 5, 20, 20]], np.float32), np.array([1]), np.array([False]))
    listed = {7: Image(7, "a.png", 40, 20, "train"), 9: Image(9, "b.png", 10, 10, "val")}
    return Dataset(("x", "y"), listed, {7: boxes, 9: Boxes.empty()}, tmp_path)


def test_rows_follow_ids_and_boxes_follow_the_squash(dataset, tmp_path):
    image_cache.build(dataset, 32, tmp_path / "images.npy")
    cache = image_cache.Cache(dataset, tmp_path / "images.npy")
    assert cache.size == 32
    pixels = cache.pixels([9, 7])
    assert pixels.shape == (2, 32, 32, 3)
    assert pixels[1, 0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 16, 2].tolist() == [0, 0, 0] and pixels[0, 16, 30].tolist() == [0, 0, 255]
    # x: 32 / 40 = 0.8, y: 32 / 20 = 1.6
    np.testing.assert_allclose(cache.boxes(7).xyxy, [[8, 8, 16, 32]])
    assert len(cache.boxes(9)) == 0


def test_no_annotation_is_not_the_same_as_no_objects(dataset, tmp_path):
    image_cache.build(dataset, 32, tmp_path / "images.npy")
    without = replace(dataset, boxes={7: dataset.boxes[7]})
    with pytest.raises(MgralError, match=r"image 9 \(b\.png\) is not annotated; annotate it"):
        image_cache.Cache(without, tmp_path / "images.npy").boxes(9)


def test_an_unreadable_image_names_file_and_id_and_leaves_nothing(dataset, tmp_path):
    (tmp_path / "b.png").write_bytes(b"not an image")
    with pytest.raises(MgralError, match=r"b\.png: image 9: cannot be decoded"):
        image_cache.build(dataset, 32, tmp_path / "out" / "images.npy")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_may_not_be_read_is_not_called_damaged(dataset, tmp_path):
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").mkdir()
    with pytest.raises(MgralError, match=r"b\.png: image 9: cannot be read \(Is a directory\); restore the file"):
        image_cache.build(dataset, 32, tmp_path / "out.npy")


def test_a_cache_of_another_data_set_is_refused(dataset, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((5, 8, 8, 3), np.uint8))
    with pytest.raises(MgralError, match="holds 5 images, the data set 2"):
        image_cache.Cache(dataset, tmp_path / "images.npy")
    for other in (np.zeros(()), np.zeros((2, 8, 8, 3))):
        np.save(tmp_path / "images.npy", other)
        with pytest.raises(MgralError, match=r"not a cache of images; run `mgral cache` again"):
            image_cache.Cache(dataset, tmp_path / "images.npy")
    np.savez(tmp_path / "images.npz", np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(MgralError, match=r"not a cache of images"):
        image_cache.Cache(dataset, tmp_path / "images.npz")
    with pytest.raises(MgralError, match="no such file"):
        image_cache.Cache(dataset, tmp_path / "none.npy")


def test_boxes_follow_the_pixels():
    """A bright square on black, its box: after any augmentation the box still holds the square."""
    size = 64
    picture = torch.full((8, 3, size, size), 0.1)
    picture[:, :, 20:36, 8:24] = 0.9
    truth = Boxes(np.array([[8, 20, 24, 36]], np.float32), np.array([0]), np.array([False]))
    checked = 0
    for seed in range(10):
        out, boxes = augmentation.augment(picture, [truth] * 8, random_streams.generator(seed))
        for image, box in zip(out, boxes, strict=True):
            if len(box) == 0:
                continue
            limit = image.min() + 0.75 * (image.max() - image.min())  # above the grey that comes into view
            rows, columns = torch.nonzero(image.mean(0) > limit, as_tuple=True)
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box.xyxy[0], [float(v) for v in seen], atol=2.0)
            checked += 1
    assert checked > 60


def test_a_box_whose_centre_leaves_is_dropped():
    # slope 2 about the middle of 64 pixels: 4..12 goes to -24..-8, 28..36 to 24..40
    boxes = Boxes(np.array([[4, 28, 12, 36], [28, 28, 36, 36]], np.float32), np.array([0, 1]), np.zeros(2, bool))
    moved = augmentation._move(boxes, np.array([2.0, 2.0]), np.array([0.0, 0.0]), 64)
    np.testing.assert_allclose(moved.xyxy, [[24, 24, 40, 40]])
    assert moved.labels.tolist() == [1]
    # a flip: slope -1 in x, 4..12 goes to 52..60
    flipped = augmentation._move(boxes, np.array([-1.0, 1.0]), np.array([0.0, 0.0]), 64)
    np.testing.assert_allclose(flipped.xyxy[0], [52, 28, 60, 36])
