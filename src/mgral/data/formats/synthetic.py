"""A generated data set in which it matters what is annotated next; the embedded default.

Small pieces (discs, squares, triangles, rings, chequered tiles, stars) lie on textured ground. Four kinds of
ground occur unequally often, and each has its own mix of pieces: the frequent grounds carry the frequent classes,
a star is nearly always on water, the rarest ground. A third of the train images repeat a scene as in a video,
moved by a few pixels, some images are empty and some crowded. A good selection skips the repeats and the empty
ones and finds the rare grounds. Classes differ in form and texture; colour helps but does not decide.

With ``junk`` a share of the train images cannot be annotated: they are blurred, overexposed, or show a covered lens.
Selection by uncertainty tends to choose them.

Everything is drawn from ``seed``. val and test show scenes of their own.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from pydantic import Field, model_validator
from tqdm import tqdm

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.files import whole, write_json
from mgral.core.types import Floats, Split
from mgral.data.faults import Findings
from mgral.data.formats import coco
from mgral.data.raw import Source

T = TypeVar("T")
Point = tuple[float, float]
Polygon = list[Point]
Filling = Literal["empty", "crowded", "usual"]
Junk = Literal["blurred", "overexposed", "covered"]
_JUNK: tuple[Junk, ...] = ("blurred", "overexposed", "covered")
_FILLINGS: tuple[Filling, ...] = ("empty", "crowded", "usual")


class Options(Settings):
    """What is generated."""

    train: int = Field(default=240, ge=1, description="images of the pool")
    val: int = Field(default=80, ge=0, description="images for rewards")
    test: int = Field(default=120, ge=0, description="images for the report")
    size: int = Field(
        default=128, ge=32, le=1024, description="side of the square images, pixels; objects grow with it"
    )
    classes: int = Field(default=6, ge=1, le=6, description="classes, the most frequent first")
    duplicates: float = Field(
        default=0.33, ge=0, lt=1, description="share of train images that repeat a scene, moved a little"
    )
    empty: float = Field(default=0.08, ge=0, le=1, description="share of scenes without an object")
    crowded: float = Field(default=0.1, ge=0, le=1, description="share of scenes with 8 to 14 small objects")
    junk: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of train images that are blurred, overexposed or covered, a third each; they have no boxes",
    )
    seed: int = Field(default=0, ge=0, description="of everything")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.empty + self.crowded > 1:
            raise ValueError("empty + crowded must not exceed 1")
        return self


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
    _Ground(0.44, (52, 84, 46), (128, 152, 86), ((5, 5, 0.5), (12, 10, 0.5), (60, 24, 0.6)), (55, 28, 14, 3, 0, 0)),
    _Ground(
        0.28, (168, 142, 104), (222, 204, 168), ((3, 4, 0.6), (14, 14, 0.3), (64, 64, 0.5)), (35, 30, 18, 12, 5, 0)
    ),
    _Ground(0.16, (66, 68, 78), (136, 138, 146), ((3, 14, 0.7), (8, 30, 0.5), (40, 50, 0.3)), (18, 15, 16, 26, 22, 3)),
    _Ground(0.12, (24, 78, 104), (108, 170, 180), ((4, 9, 0.8), (10, 20, 0.5), (24, 40, 0.2)), (8, 6, 8, 12, 16, 50)),
)
_MARGIN = 6  # pixels at 128, by which frames of one scene may differ in place
_SMALL = np.array([6.0, 11.0])  # radius of the pieces of a crowded scene, least and largest, pixels at 128
_LARGE = np.array([7.0, 22.0])  # likewise of other scenes
_HUE_SPREAD = 0.2  # a class's hue strays so far from its usual one, of a full circle
_VISIBLE = 0.4  # least share of an object that other objects leave in view
_OVERSAMPLING = 3
_BLUR = 14  # side of an image ÷ radius of the blur of a junk image
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
class _Scene:
    """What a scene will hold: its ground, and whether it is left empty, crowded or neither."""

    number: int
    split: Split
    ground: int
    filling: Filling


@dataclass(frozen=True)
class _Frame:
    """An image to be drawn: a scene, seen for the ``number``-th time (0: as it was laid out), spoilt or not."""

    id: int
    scene: _Scene
    number: int
    junk: Junk | None = None


def image_names(options: Options) -> list[str]:
    """File names of all images, below the output folder, in order of id."""
    total = options.train + options.val + options.test
    return [f"images/{id:06d}.jpg" for id in range(1, total + 1)]


def generate(out: Path, options: Options) -> None:
    """Write ``out/annotations.json`` (COCO, a split and a scene per image) and ``out/images``."""
    frames = _frames(options)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
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
                "split": frame.scene.split,
                "scene": frame.scene.number,
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
    """All images in order of id; repeats of a train scene follow it."""
    repeats = min(round(options.train * options.duplicates), options.train - 1)
    scenes: list[_Scene] = []
    counts: dict[Split, int] = {"train": options.train - repeats, "val": options.val, "test": options.test}
    for split, count in counts.items():
        rng = random_streams.generator(options.seed, "scenes", split)
        grounds = _dealt(range(len(_GROUNDS)), [ground.weight for ground in _GROUNDS], count, rng)
        usual = 1 - options.empty - options.crowded
        fillings = _dealt(_FILLINGS, (options.empty, options.crowded, usual), count, rng)
        for ground, filling in zip(grounds, fillings, strict=True):
            scenes.append(_Scene(len(scenes) + 1, split, ground, filling))

    # Repeats make frequent things more frequent: they show the first two grounds.
    rng = random_streams.generator(options.seed, "bursts")
    pool = [scene for scene in scenes if scene.split == "train"]
    common = [scene.number for scene in pool if scene.ground < 2] or [scene.number for scene in pool]
    length = dict.fromkeys((scene.number for scene in scenes), 1)
    for number in itertools.cycle(rng.permutation(common).tolist()):
        if not repeats:
            break
        more = min(int(rng.integers(1, 6)), repeats)
        length[number] += more
        repeats -= more
    shown = [(scene, number) for scene in scenes for number in range(length[scene.number])]
    spoilt = _spoilt([id for id, (scene, _) in enumerate(shown, start=1) if scene.split == "train"], options)
    return [_Frame(id, scene, number, spoilt.get(id)) for id, (scene, number) in enumerate(shown, start=1)]


def _spoilt(ids: Sequence[int], options: Options) -> dict[int, Junk]:
    """Which images are junk, and of what kind; the kinds take turns."""
    order = random_streams.generator(options.seed, "junk").permutation(ids).tolist()
    return dict(zip(order[: round(len(ids) * options.junk)], itertools.cycle(_JUNK), strict=False))


def _dealt(values: Sequence[T], shares: Sequence[float], count: int, rng: np.random.Generator) -> list[T]:
    """``count`` values in random order, each as often as its share says, up to rounding."""
    ends = np.round(np.cumsum([0, *shares]) / sum(shares) * count).astype(int)
    hand = [value for value, times in zip(values, np.diff(ends), strict=True) for _ in range(times)]
    return [hand[i] for i in rng.permutation(count)]


def _draw(frame: _Frame, options: Options) -> tuple[PIL.Image.Image, list[tuple[int, tuple[float, ...]]]]:
    """One image, and label and corners of each object in it."""
    margin = round(_MARGIN * options.size / 128)
    rng = random_streams.generator(options.seed, "scene", frame.scene.number)
    pixels = _texture(_GROUNDS[frame.scene.ground], options.size + 2 * margin, rng)
    pieces = _pieces(frame.scene, options, margin, rng)
    for piece in pieces:
        _paint(pixels, piece)

    rng = random_streams.generator(options.seed, "frame", frame.scene.number, frame.number)
    left, top = (margin, margin) if frame.number == 0 else rng.integers(0, 2 * margin + 1, 2).tolist()
    pixels = pixels[top : top + options.size, left : left + options.size]
    grain = rng.random(pixels.shape) + rng.random(pixels.shape) - 1
    seen = np.clip(pixels * rng.uniform(0.94, 1.06) + 4 * grain + 0.5, 0, 255).astype(np.uint8)
    if frame.junk is not None:
        return _spoil(seen, frame.junk), []
    return PIL.Image.fromarray(seen), [(piece.label, _corners(piece, left, top)) for piece in pieces]


def _spoil(pixels: npt.NDArray[np.uint8], junk: Junk) -> PIL.Image.Image:
    """An image of [side, side, 3] RGB in which nobody could annotate an object."""
    if junk == "blurred":
        return PIL.Image.fromarray(pixels).filter(PIL.ImageFilter.GaussianBlur(len(pixels) / _BLUR))
    spoilt = pixels * 2.0 + 140 if junk == "overexposed" else pixels * 0.08
    return PIL.Image.fromarray(np.clip(spoilt, 0, 255).astype(np.uint8))


def _texture(ground: _Ground, side: int, rng: np.random.Generator) -> Floats:
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


def _pieces(scene: _Scene, options: Options, margin: int, rng: np.random.Generator) -> list[_Piece]:
    """Lay out a scene; a piece that would hide too much of another is tried elsewhere, at last left away."""
    crowded = scene.filling == "crowded"
    count = 0 if scene.filling == "empty" else int(rng.integers(8, 15) if crowded else rng.integers(1, 5))
    odds = np.array(_GROUNDS[scene.ground].classes[: options.classes], np.float64)
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
    return _Piece(label, x, y, radius, angle, 255 * np.array(rgb, np.float32), _cover(side, [outline], holes))


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
    inner = _cover(side, [piece.placed(kind.outline, 0.86)])
    marks = _cover(side, [piece.placed(mark) for mark in kind.marks])
    face *= 1 - np.maximum(0.45 * (1 - inner), 0.75 * marks)[..., None]
    cover = piece.cover[..., None]
    pixels += cover * (face - pixels)


def _corners(piece: _Piece, left: int, top: int) -> tuple[float, float, float, float]:
    """The piece's box in pixels of a frame that begins at (left, top) of the scene."""
    xs, ys = zip(*piece.placed(list(_KINDS.values())[piece.label].outline), strict=True)
    return min(xs) - left, min(ys) - top, max(xs) - left, max(ys) - top
