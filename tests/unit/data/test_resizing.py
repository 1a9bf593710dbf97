"""Shapes of images in the detector's input."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgral.core.types import Dataset, Image
from mgral.data.resizing import Resizing

WIDE, TALL, SQUARE = (Image(i, f"{i}.png", *size, "train") for i, size in enumerate([(640, 480), (300, 900), (50, 50)]))


@pytest.mark.parametrize(
    ("resizing", "shapes", "side"),
    [
        (Resizing("squash", 160), [(160, 160), (160, 160), (160, 160)], 160),
        (Resizing("letterbox", 160), [(160, 120), (53, 160), (160, 160)], 160),
        (Resizing("shortest_edge", 120, 1333), [(160, 120), (120, 360), (120, 120)], 384),
        (Resizing("shortest_edge", 120, 200), [(160, 120), (67, 200), (120, 120)], 224),  # the longer side rules
        (Resizing("shortest_edge", 800, 1333), [(1067, 800), (444, 1333), (800, 800)], 1344),
    ],
)
def test_shapes_and_the_input_that_takes_them_all(resizing: Resizing, shapes: list[tuple[int, int]], side: int) -> None:
    images = [WIDE, TALL, SQUARE]
    assert [resizing.shape(image) for image in images] == shapes
    assert resizing.side(Dataset(("a",), {one.id: one for one in images}, {}, Path())) == side <= resizing.largest_side
    assert Resizing.named(resizing.name) == resizing


def test_no_side_vanishes() -> None:
    assert Resizing("letterbox", 32).shape(Image(1, "a.png", 5000, 3, "train")) == (32, 1)


@pytest.mark.parametrize("name", ["", "x", "squash", "squash_", "letterbox_a", "crop_32"])
def test_other_words_name_no_rule(name: str) -> None:
    assert Resizing.named(name) is None


def test_the_longest_edge_is_that_of_shortest_edge_alone() -> None:
    assert Resizing.of("letterbox", 64, 1333) == Resizing("letterbox", 64, 0)
    assert Resizing.of("shortest_edge", 64, 1333) == Resizing("shortest_edge", 64, 1333)
