"""What lies on an image of the generated data set: textured ground, and pieces of six classes on it."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

from mgral.core.types import Floats

Point = tuple[float, float]
Polygon = list[Point]
Filling = Literal["empty", "crowded", "usual"]


@dataclass(frozen=True)
class Kind:
    """A class: its outline, holes and marks of a second colour, all in a circle of radius 1, and its usual hue."""

    outline: Polygon
    hue: float
    holes: Sequence[Polygon] = ()
    marks: Sequence[Polygon] = ()


@dataclass(frozen=True)
class Ground:
    """A kind of ground: how often it occurs, its two colours, its grain, and how often each class lies on it."""

    weight: float
    dark: tuple[int, int, int]
    light: tuple[int, int, int]
    octaves: Sequence[tuple[int, int, float]]  # cells across, cells down, weight
    classes: Sequence[float]


def _circle(radius: float, points: int = 48) -> Polygon:
    return [_polar(radius, 2 * math.pi * i / points) for i in range(points)]


def _polar(radius: float, angle: float) -> Point:
    return radius * math.cos(angle), radius * math.sin(angle)


def _tile(x: float, y: float, side: float) -> Polygon:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


_SIDE = math.sqrt(2)  # of a square in the unit circle
KINDS = {
    "disc": Kind(_circle(1.0), 0.02),
    "square": Kind(_tile(-_SIDE / 2, -_SIDE / 2, _SIDE), 0.60),
    "triangle": Kind([_polar(1.0, 2 * math.pi * i / 3) for i in range(3)], 0.13),
    "ring": Kind(_circle(1.0), 0.83, holes=[_circle(0.52)]),
    "chequer": Kind(
        _tile(-_SIDE / 2, -_SIDE / 2, _SIDE),
        0.08,
        marks=[
            _tile(-_SIDE / 2 + column * _SIDE / 4, -_SIDE / 2 + row * _SIDE / 4, _SIDE / 4)
            for row in range(4)
            for column in range(4)
            if (row + column) % 2
        ],
    ),
    "star": Kind([_polar(0.44 if i % 2 else 1.0, math.pi * i / 5) for i in range(10)], 0.15),
}
GROUNDS = (
    # meadow: blades; sand: fine grain; slate: layers; water: broad waves
    Ground(0.44, (52, 84, 46), (128, 152, 86), ((5, 5, 0.5), (12, 10, 0.5), (60, 24, 0.6)), (55, 28, 14, 3, 0, 0)),
    Ground(0.28, (168, 142, 104), (222, 204, 168), ((3, 4, 0.6), (14, 14, 0.3), (64, 64, 0.5)), (35, 30, 18, 12, 5, 0)),
    Ground(0.16, (66, 68, 78), (136, 138, 146), ((3, 14, 0.7), (8, 30, 0.5), (40, 50, 0.3)), (18, 15, 16, 26, 22, 3)),
    Ground(0.12, (24, 78, 104), (108, 170, 180), ((4, 9, 0.8), (10, 20, 0.5), (24, 40, 0.2)), (8, 6, 8, 12, 16, 50)),
)
_SMALL = np.array([6.0, 11.0])  # radius of the pieces of a crowded scene, least and largest, pixels at 128
_LARGE = np.array([7.0, 22.0])  # likewise of other scenes
_HUE_SPREAD = 0.2  # a class's hue strays so far from its usual one, of a full circle
_VISIBLE = 0.4  # least share of an object that other objects leave in view
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Piece:
    """An object of a scene, which is a margin wider than a frame on each side.

    Attributes:
        label: index of its class.
        x, y, radius: pixels of the scene.
        angle: radians.
        colour: [3] RGB 0..255.
        cover: [side, side] share of each pixel of the scene that it covers, 0..1.
    """

    label: int
    x: float
    y: float
    radius: float
    angle: float
    colour: Floats
    cover: Floats

    def placed(self, polygon: Polygon, scale: float = 1.0) -> Polygon:
        """A polygon of the unit circle, in pixels of the scene."""
        return _placed(polygon, self.x, self.y, self.radius * scale, self.angle)


def texture(ground: Ground, side: int, rng: np.random.Generator) -> Floats:
    """[side, side, 3] RGB: noise of several scales between the ground's two colours, lit from one side."""
    height = np.zeros((side, side), np.float32)
    for columns, rows, weight in ground.octaves:
        cells = PIL.Image.fromarray(rng.random((rows, columns), np.float32))
        height += np.float32(weight) * np.asarray(cells.resize((side, side), PIL.Image.Resampling.BICUBIC))
    height = (height - height.min()) / (height.max() - height.min())
    dark, light = np.array(ground.dark, np.float32), np.array(ground.light, np.float32)
    ramp = np.linspace(-0.1, 0.1, side, dtype=np.float32)
    down, across = rng.choice(np.array([-1, 1], np.float32), 2)
    lit = rng.uniform(0.85, 1.1) + down * ramp[:, None] + across * ramp
    shaded: Floats = (dark + height[..., None] * (light - dark)) * lit[..., None]
    return shaded


def pieces(
    ground: Ground, filling: Filling, size: int, classes: int, margin: int, rng: np.random.Generator
) -> list[Piece]:
    """Lay out a scene; a piece that would hide too much of another is tried elsewhere, at last left away."""
    crowded = filling == "crowded"
    count = 0 if filling == "empty" else int(rng.integers(8, 15) if crowded else rng.integers(1, 5))
    odds = np.array(ground.classes[:classes], np.float64)
    smallest, largest = (_SMALL if crowded else _LARGE) * size / 128
    found: list[Piece] = []
    in_view: list[Floats] = []
    for _ in range(8 * count):
        if len(found) == count:
            break
        radius = smallest * (largest / smallest) ** rng.random()
        # Far enough from the edge to be whole in every frame of the scene.
        x, y = (2 * margin + radius + (size - 2 * margin - 2 * radius) * rng.random(2)).tolist()
        label = int(rng.choice(classes, p=odds / odds.sum()))
        new = piece(label, x, y, radius, size + 2 * margin, rng)
        left = [view * (1 - new.cover) for view in in_view]
        if all(view.sum() >= _VISIBLE * other.cover.sum() for view, other in zip(left, found, strict=True)):
            found.append(new)
            in_view = [*left, new.cover]
    return found


def piece(label: int, x: float, y: float, radius: float, side: int, rng: np.random.Generator) -> Piece:
    """A piece of random angle and colour."""
    kind = list(KINDS.values())[label]
    angle = 2 * math.pi * rng.random()
    hue = (kind.hue + _HUE_SPREAD * (rng.random() + rng.random() - 1)) % 1
    rgb = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * rng.random(), 0.65 + 0.35 * rng.random())
    outline = _placed(kind.outline, x, y, radius, angle)
    holes = [_placed(hole, x, y, radius, angle) for hole in kind.holes]
    return Piece(label, x, y, radius, angle, 255 * np.array(rgb, np.float32), _cover(side, [outline], holes))


def _placed(polygon: Polygon, x: float, y: float, radius: float, angle: float) -> Polygon:
    """Turn, scale and move a polygon of the unit circle."""
    cos, sin = radius * math.cos(angle), radius * math.sin(angle)
    return [(x + cos * px - sin * py, y + sin * px + cos * py) for px, py in polygon]


def _cover(side: int, shapes: Sequence[Polygon], holes: Sequence[Polygon] = ()) -> Floats:
    """[side, side] share of each pixel inside the shapes and outside the holes."""
    mask = PIL.Image.new("L", (side * _OVERSAMPLING, side * _OVERSAMPLING))
    draw = PIL.ImageDraw.Draw(mask)
    for polygons, value in ((shapes, 255), (holes, 0)):
        for polygon in polygons:
            # Pillow counts from the middle of the first pixel, boxes from its corner.
            draw.polygon([(_OVERSAMPLING * x - 0.5, _OVERSAMPLING * y - 0.5) for x, y in polygon], fill=value)
    return np.asarray(mask.reduce(_OVERSAMPLING)).astype(np.float32) / np.float32(255)


def paint(pixels: Floats, piece: Piece) -> None:
    """Lay a piece on the ground: its shadow, a dark rim, its marks, light from the upper left."""
    side = len(pixels)
    kind = list(KINDS.values())[piece.label]
    shadow = PIL.Image.fromarray((255 * piece.cover).astype(np.uint8))
    shadow = shadow.filter(PIL.ImageFilter.GaussianBlur(side / 80))
    fallen = np.roll(np.asarray(shadow, np.float32) / 255, round(side / 70), axis=(0, 1))
    pixels *= 1 - 0.45 * fallen[..., None]

    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    slope = (piece.x - columns + piece.y - rows) / (2 * piece.radius)
    face = piece.colour * (1 + 0.22 * np.clip(slope, -1, 1))[..., None]
    inner = _cover(side, [piece.placed(kind.outline, 0.86)])
    marks = _cover(side, [piece.placed(mark) for mark in kind.marks])
    face *= 1 - np.maximum(0.45 * (1 - inner), 0.75 * marks)[..., None]
    cover = piece.cover[..., None]
    pixels += cover * (face - pixels)


def corners(piece: Piece, left: int, top: int) -> tuple[float, float, float, float]:
    """The piece's box in pixels of a frame that begins at (left, top) of the scene."""
    xs, ys = zip(*piece.placed(list(KINDS.values())[piece.label].outline), strict=True)
    return min(xs) - left, min(ys) - top, max(xs) - left, max(ys) - top
