"""A generated data set in which it matters what is annotated next; the embedded default.

Small pieces (discs, squares, triangles, rings, chequered tiles, stars) lie on textured ground. Four kinds of
ground occur unequally often, and each has its own mix of pieces: the frequent grounds carry the frequent classes,
a star is nearly always on water, the rarest ground. A third of the train images repeat a scene as in a video,
moved by a few pixels, some images are empty and some crowded. A good selection skips the repeats and the empty
ones and finds the rare grounds. Classes differ in form and texture; colour helps but does not decide.

Everything is drawn from ``seed``. val and test show scenes of their own.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from pydantic import Field
from tqdm import tqdm

from mgral import seeds
from mgral.datasets import coco
from mgral.datasets._findings import Findings
from mgral.datasets._source import Source
from mgral.files import whole, write_json
from mgral.settings import Settings
from mgral.types import SPLITS, Floats, Split

Point = tuple[float, float]
Polygon = list[Point]


class Options(Settings):
    """What is generated."""

    train: int = Field(240, ge=1, description="images of the pool")
    val: int = Field(80, ge=0, description="images for rewards")
    test: int = Field(120, ge=0, description="images for the report")
    size: int = Field(128, ge=32, le=1024, description="side of the square images, pixels; objects grow with it")
    classes: int = Field(6, ge=1, le=6, description="classes, the most frequent first")
    duplicates: float = Field(0.33, ge=0, lt=1, description="share of train images that repeat a scene, moved a little")
    empty: float = Field(0.08, ge=0, le=1, description="share of scenes without an object")
    crowded: float = Field(0.1, ge=0, le=1, description="share of scenes with 8 to 14 small objects")
    seed: int = Field(0, ge=0, description="of everything")


@dataclass(frozen=True)
class _Kind:
    """A class: its outline, holes and marks of a second colour, all in a circle of radius 1, and its usual hue."""

    outline: Polygon
    hue: float
    holes: Sequence[Polygon] = ()
    marks: Sequence[Polygon] = ()


@dataclass(frozen=True)
class _Ground:
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
_KINDS = {
    "disc": _Kind(_circle(1.0), 0.02),
    "square": _Kind(_tile(-_SIDE / 2, -_SIDE / 2, _SIDE), 0.60),
    "triangle": _Kind([_polar(1.0, 2 * math.pi * i / 3) for i in range(3)], 0.13),
    "ring": _Kind(_circle(1.0), 0.83, holes=[_circle(0.52)]),
    "chequer": _Kind(
        _tile(-_SIDE / 2, -_SIDE / 2, _SIDE),
        0.08,
        marks=[
            _tile(-_SIDE / 2 + column * _SIDE / 4, -_SIDE / 2 + row * _SIDE / 4, _SIDE / 4)
            for row in range(4)
            for column in range(4)
            if (row + column) % 2
        ],
    ),
    "star": _Kind([_polar(0.44 if i % 2 else 1.0, math.pi * i / 5) for i in range(10)], 0.15),
}
_GROUNDS = (
    # meadow: blades; sand: fine grain; slate: layers; water: broad waves
    _Ground(0.46, (52, 84, 46), (128, 152, 86), ((5, 5, 0.5), (12, 10, 0.5), (60, 24, 0.6)), (55, 28, 14, 3, 0, 0)),
    _Ground(
        0.28, (168, 142, 104), (222, 204, 168), ((3, 4, 0.6), (14, 14, 0.3), (64, 64, 0.5)), (35, 30, 18, 12, 5, 0)
    ),
    _Ground(0.16, (66, 68, 78), (136, 138, 146), ((3, 14, 0.7), (8, 30, 0.5), (40, 50, 0.3)), (18, 15, 16, 26, 22, 3)),
    _Ground(0.10, (24, 78, 104), (108, 170, 180), ((4, 9, 0.8), (10, 20, 0.5), (24, 40, 0.2)), (8, 8, 10, 14, 18, 42)),
)
_MARGIN = 6  # pixels at 128, by which frames of one scene may differ in place
_SMALL = np.array([6.0, 11.0])  # radius of the pieces of a crowded scene, least and largest, pixels at 128
_LARGE = np.array([7.0, 22.0])  # likewise of other scenes
_HUE_SPREAD = 0.2  # a class's hue strays so far from its usual one, of a full circle
_VISIBLE = 0.4  # least share of an object that other objects leave in view
_OVERSAMPLING = 3
_QUALITY = 92  # of the JPEG files


@dataclass(frozen=True)
class _Piece:
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


@dataclass(frozen=True)
class _Frame:
    """An image to be drawn: which scene, and which frame of it; frame 0 is the scene as it was laid out."""

    id: int
    split: Split
    scene: int
    number: int


def image_names(options: Options) -> list[str]:
    """File names of all images, below the output folder, in order of id."""
    total = options.train + options.val + options.test
    return [f"images/{id:06d}.jpg" for id in range(1, total + 1)]


def generate(out: Path, options: Options) -> None:
    """Write ``out/annotations.json`` (COCO, a split and a scene per image) and ``out/images``."""
    frames = _frames(options)
    images, annotations = [], []
    for frame, name in zip(tqdm(frames, desc="drawing", unit="", disable=None), image_names(options), strict=True):
        picture, found = _draw(frame, options)
        with whole(out / name) as path:
            picture.save(path, "JPEG", quality=_QUALITY, subsampling=0)
        images.append(
            {
                "id": frame.id,
                "file_name": Path(name).name,
                "width": options.size,
                "height": options.size,
                "split": frame.split,
                "scene": frame.scene,
            }
        )
        for label, (x1, y1, x2, y2) in found:
            bbox = [round(edge, 2) for edge in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": frame.id,
                    "category_id": label + 1,
                    "bbox": bbox,
                    "area": round(bbox[2] * bbox[3], 2),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(list(_KINDS)[: options.classes], start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(out / "annotations.json", content)


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read a generated data set; it must be there. Raises MgralError if it is not."""
    if not (root / "annotations.json").is_file():
        report.refuse("annotations.json", "", "no such file", "make it with `mgral generate`")
    return coco.read(root, coco.Options(), report)


def _frames(options: Options) -> list[_Frame]:
    """All images: in train, scenes are repeated in bursts of 2 to 6 until the share of repeats is reached."""
    rng = seeds.generator(options.seed, "bursts")
    repeats = round(options.train * options.duplicates)
    bursts = [1] * (options.train - repeats)
    while repeats:
        scene = int(rng.integers(len(bursts)))
        more = min(int(rng.integers(1, 6)), repeats) if bursts[scene] == 1 else 0
        bursts[scene] += more
        repeats -= more
    lengths = {"train": bursts, "val": [1] * options.val, "test": [1] * options.test}
    frames: list[_Frame] = []
    scene = 0
    for split in SPLITS:
        for length in lengths[split]:
            scene += 1
            frames += [_Frame(len(frames) + 1 + number, split, scene, number) for number in range(length)]
    return frames


def _draw(frame: _Frame, options: Options) -> tuple[PIL.Image.Image, list[tuple[int, tuple[float, ...]]]]:
    """One image, and label and corners of each object in it."""
    margin = round(_MARGIN * options.size / 128)
    rng = seeds.generator(options.seed, "scene", frame.scene)
    ground = _GROUNDS[rng.choice(len(_GROUNDS), p=[ground.weight for ground in _GROUNDS])]
    pixels = _texture(ground, options.size + 2 * margin, rng)
    pieces = _pieces(ground, options, margin, rng)
    for piece in pieces:
        _paint(pixels, piece)

    rng = seeds.generator(options.seed, "frame", frame.scene, frame.number)
    left, top = (margin, margin) if frame.number == 0 else rng.integers(0, 2 * margin + 1, 2).tolist()
    pixels = pixels[top : top + options.size, left : left + options.size]
    grain = rng.random(pixels.shape) + rng.random(pixels.shape) - 1
    pixels = np.clip(pixels * rng.uniform(0.94, 1.06) + 4 * grain + 0.5, 0, 255)
    return PIL.Image.fromarray(pixels.astype(np.uint8)), [(piece.label, _corners(piece, left, top)) for piece in pieces]


def _texture(ground: _Ground, side: int, rng: np.random.Generator) -> Floats:
    """[side, side, 3] RGB: noise of several scales between the ground's two colours, lit from one side."""
    height = np.zeros((side, side), np.float32)
    for across, down, weight in ground.octaves:
        cells = PIL.Image.fromarray(rng.random((down, across), np.float32))
        height += weight * np.asarray(cells.resize((side, side), PIL.Image.Resampling.BICUBIC))
    height = (height - height.min()) / (height.max() - height.min())
    dark, light = np.array(ground.dark, np.float32), np.array(ground.light, np.float32)
    ramp = np.linspace(-0.1, 0.1, side, dtype=np.float32)
    lit = rng.uniform(0.85, 1.1) + rng.choice([-1, 1]) * ramp[:, None] + rng.choice([-1, 1]) * ramp[None, :]
    return ((dark + height[..., None] * (light - dark)) * lit[..., None]).astype(np.float32)


def _pieces(ground: _Ground, options: Options, margin: int, rng: np.random.Generator) -> list[_Piece]:
    """Lay out a scene; a piece that would hide too much of another is tried elsewhere, at last left away."""
    kind = rng.random()
    crowded = options.empty <= kind < options.empty + options.crowded
    count = 0 if kind < options.empty else int(rng.integers(8, 15) if crowded else rng.integers(1, 5))
    odds = np.array(ground.classes[: options.classes], np.float64)
    smallest, largest = (_SMALL if crowded else _LARGE) * options.size / 128
    pieces: list[_Piece] = []
    in_view: list[Floats] = []
    for _ in range(8 * count):
        if len(pieces) == count:
            break
        radius = smallest * (largest / smallest) ** rng.random()
        # Far enough from the edge to be whole in every frame of the scene.
        x, y = (2 * margin + radius + (options.size - 2 * margin - 2 * radius) * rng.random(2)).tolist()
        label = int(rng.choice(options.classes, p=odds / odds.sum()))
        piece = _piece(label, x, y, radius, options.size + 2 * margin, rng)
        left = [view * (1 - piece.cover) for view in in_view]
        if all(view.sum() >= _VISIBLE * other.cover.sum() for view, other in zip(left, pieces, strict=True)):
            pieces.append(piece)
            in_view = [*left, piece.cover]
    return pieces


def _piece(label: int, x: float, y: float, radius: float, side: int, rng: np.random.Generator) -> _Piece:
    """A piece of random angle and colour."""
    kind = list(_KINDS.values())[label]
    angle = 2 * math.pi * rng.random()
    hue = (kind.hue + _HUE_SPREAD * (rng.random() + rng.random() - 1)) % 1
    rgb = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * rng.random(), 0.65 + 0.35 * rng.random())
    outline = _placed(kind.outline, x, y, radius, angle)
    holes = [_placed(hole, x, y, radius, angle) for hole in kind.holes]
    return _Piece(label, x, y, radius, angle, 255 * np.array(rgb, np.float32), _cover(outline, side, holes))


def _placed(polygon: Polygon, x: float, y: float, radius: float, angle: float) -> Polygon:
    """Turn, scale and move a polygon of the unit circle."""
    cos, sin = radius * math.cos(angle), radius * math.sin(angle)
    return [(x + cos * px - sin * py, y + sin * px + cos * py) for px, py in polygon]


def _cover(polygon: Polygon, side: int, holes: Sequence[Polygon] = ()) -> Floats:
    """[side, side] share of each pixel inside a polygon and outside its holes."""
    mask = PIL.Image.new("L", (side * _OVERSAMPLING, side * _OVERSAMPLING))
    draw = PIL.ImageDraw.Draw(mask)
    for shape, value in ((polygon, 255), *((hole, 0) for hole in holes)):
        # Pillow counts from the middle of the first pixel, boxes from its corner.
        draw.polygon([(_OVERSAMPLING * x - 0.5, _OVERSAMPLING * y - 0.5) for x, y in shape], fill=value)
    return np.asarray(mask.reduce(_OVERSAMPLING), np.float32) / 255


def _paint(pixels: Floats, piece: _Piece) -> None:
    """Lay a piece on the ground: its shadow, a dark rim, its marks, light from the upper left."""
    side = len(pixels)
    kind = list(_KINDS.values())[piece.label]
    shadow = PIL.Image.fromarray((255 * piece.cover).astype(np.uint8))
    shadow = shadow.filter(PIL.ImageFilter.GaussianBlur(side / 80))
    fallen = np.roll(np.asarray(shadow, np.float32) / 255, round(side / 70), axis=(0, 1))
    pixels *= 1 - 0.45 * fallen[..., None]

    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    slope = (piece.x - columns + piece.y - rows) / (2 * piece.radius)
    face = piece.colour * (1 + 0.22 * np.clip(slope, -1, 1))[..., None]
    rim = 1 - _cover(piece.placed(kind.outline, 0.86), side)
    dark = np.maximum.reduce([0.45 * rim, *(0.75 * _cover(piece.placed(mark), side) for mark in kind.marks)])
    face *= 1 - dark[..., None]
    cover = piece.cover[..., None]
    pixels += cover * (face - pixels)


def _corners(piece: _Piece, left: int, top: int) -> tuple[float, float, float, float]:
    """The piece's box in pixels of a frame that begins at (left, top) of the scene."""
    xs, ys = zip(*piece.placed(list(_KINDS.values())[piece.label].outline), strict=True)
    return min(xs) - left, min(ys) - top, max(xs) - left, max(ys) - top
