"""Sharpness and exposure, worked out by hand on a few pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from mgral.core.types import Boxes, Dataset, Image, Tiling
from mgral.data import image_cache, image_quality
from mgral.data.image_cache import Cache
from mgral.data.resizing import Resizing


def grey(rows: list[list[int]]) -> np.ndarray:
    return np.repeat(np.array(rows, np.uint8)[:, :, None], 3, axis=2)


def dataset(folder: Path, *pictures: np.ndarray) -> Dataset:
    listed = {}
    for i, picture in enumerate(pictures, 1):
        Pillow.fromarray(picture).save(folder / f"{i}.png")
        listed[i] = Image(i, f"{i}.png", picture.shape[1], picture.shape[0], "train")
    return Dataset(("x",), listed, dict.fromkeys(listed, Boxes.empty()), folder)


def opened(data: Dataset, resizing: Resizing, decoded: bool = True) -> Cache:
    image_cache.build(data, resizing, path := data.root / f"{resizing.mode}-{decoded}.npy", decoded)
    return Cache(data, path)


def of(cache: Cache, *ids: int) -> list[list[float]]:
    return image_quality.of_inputs(cache, ids, cache.pixels(ids)).tolist()


def test_a_dot_and_clipped_corners(tmp_path: Path) -> None:
    # The Laplacian of a dot of 10 in the middle of 4 x 3 is -40 there and 10 beside it: mean -15, variance 625. Of
    # twelve pixels 2 and 253 are clipped, 5 and 250 are not.
    dot = [[100] * 4 for _ in range(3)]
    dot[1][1] = 110
    corners = [row[:] for row in dot]
    corners[0][0], corners[0][3], corners[2][0], corners[2][3] = 2, 253, 5, 250
    picture = np.stack([np.pad(grey(one), ((0, 1), (0, 0), (0, 0)), mode="edge") for one in (dot, corners)])
    cache = opened(dataset(tmp_path, *(one[:3] for one in picture)), Resizing("letterbox", 4))
    assert of(cache, 2, 1) == [[625.0, 2 / 12], [625.0, 0.0]]  # the Laplacian does not see corners


def test_padding_does_not_count_and_both_ways_to_read_are_equal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide, square = (rng.integers(0, 256, shape, np.uint8) for shape in ((16, 32, 3), (32, 32, 3)))
    data = dataset(tmp_path, wide, square)
    cache = opened(data, Resizing("letterbox", 32))
    alone = opened(replace(data, images={1: data.images[1]}), Resizing("letterbox", 32))
    padded = image_quality._of_one(cache.pixels([1])[0])
    assert of(cache, 1) == of(alone, 1) == [list(image_quality._of_one(wide))] != [list(padded)]
    plain = opened(data, Resizing("letterbox", 32), decoded=False)
    found = image_quality.of_images(cache, [1, 2])
    assert found.dtype == np.float32 and (image_quality.of_images(plain, [1, 2]) == found).all()


def test_an_image_is_the_mean_of_its_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 256, (32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    data = replace(dataset(tmp_path, np.concatenate([left, right], axis=1)), tiling=Tiling(32, 0, 0.5))
    cache = opened(data, Resizing("squash", 32))
    variance, clipped = image_quality._of_one(left)
    (found,) = image_quality.of_images(cache, [1]).tolist()
    assert found == pytest.approx([math.log1p(variance / 2), (clipped + 1) / 2])


def test_an_image_of_two_pixels_has_no_edges() -> None:
    assert image_quality._of_one(grey([[0, 255], [120, 130]])) == (0.0, 0.5)


def test_the_score_is_relative_to_the_pool() -> None:
    # Variances 0, 10, 30 and a median of 10: 0, 1/2 and 3/4, the last less a fifth
    measured = np.array([[0, 0], [math.log1p(10), 0], [math.log1p(30), 0.2]], np.float32)
    assert image_quality.scores(measured).tolist() == pytest.approx([0, 0.5, 0.6])
    empty = np.array([[0, 0], [0, 1], [math.log1p(30), 0]], np.float32)  # the median is 0
    assert image_quality.scores(empty).tolist() == pytest.approx([0.5, 0, 1])
    assert image_quality.scores(measured[:0]).tolist() == []
