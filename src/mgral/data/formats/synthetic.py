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

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageFilter
from pydantic import Field, model_validator
from tqdm import tqdm

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import read_json, whole, write_json
from mgral.core.types import Split
from mgral.data.faults import Findings
from mgral.data.formats import _scenery, coco
from mgral.data.formats._scenery import GROUNDS, KINDS, Filling
from mgral.data.raw import Source

T = TypeVar("T")
Junk = Literal["blurred", "overexposed", "covered"]
_FILE = "annotations.json"
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


_MARGIN = 6  # pixels at 128, by which frames of one scene may differ in place
_BLUR = 14  # side of an image ÷ radius of the blur of a junk image
_QUALITY = 92  # of the JPEG files


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
    """Write ``out/annotations.json`` (COCO, a split and a scene per image) and ``out/images``.

    Raises:
        MgralError: another data set lies there, or there is no room.
    """
    _refuse_another(out / _FILE)
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
    categories = [{"id": i, "name": name} for i, name in enumerate(list(KINDS)[: options.classes], start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(out / _FILE, content)


def _refuse_another(path: Path) -> None:
    """Refuse to replace annotations that were not generated. Raises MgralError."""
    if not path.exists():
        return
    content = read_json(path)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, dict) and "scene" in image for image in images):
        raise MgralError(f"{path}: is of a data set that was not generated, and is not replaced; choose another folder")


def read(root: Path, options: Options, report: Findings) -> Source:
    """Read a generated data set; it must be there. Raises MgralError if it is not."""
    if not (root / _FILE).is_file():
        report.refuse(_FILE, "", "no such file", "make it with `mgral generate`")
    return coco.read(root, coco.Options(), report)


def _frames(options: Options) -> list[_Frame]:
    """All images in order of id; repeats of a train scene follow it."""
    repeats = min(round(options.train * options.duplicates), options.train - 1)
    scenes: list[_Scene] = []
    counts: dict[Split, int] = {"train": options.train - repeats, "val": options.val, "test": options.test}
    for split, count in counts.items():
        rng = random_streams.generator(options.seed, "scenes", split)
        grounds = _dealt(range(len(GROUNDS)), [ground.weight for ground in GROUNDS], count, rng)
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
    ground = GROUNDS[frame.scene.ground]
    pixels = _scenery.texture(ground, options.size + 2 * margin, rng)
    pieces = _scenery.pieces(ground, frame.scene.filling, options.size, options.classes, margin, rng)
    for piece in pieces:
        _scenery.paint(pixels, piece)

    rng = random_streams.generator(options.seed, "frame", frame.scene.number, frame.number)
    left, top = (margin, margin) if frame.number == 0 else rng.integers(0, 2 * margin + 1, 2).tolist()
    pixels = pixels[top : top + options.size, left : left + options.size]
    grain = rng.random(pixels.shape) + rng.random(pixels.shape) - 1
    seen = np.clip(pixels * rng.uniform(0.94, 1.06) + 4 * grain + 0.5, 0, 255).astype(np.uint8)
    if frame.junk is not None:
        return _spoil(seen, frame.junk), []
    return PIL.Image.fromarray(seen), [(piece.label, _scenery.corners(piece, left, top)) for piece in pieces]


def _spoil(pixels: npt.NDArray[np.uint8], junk: Junk) -> PIL.Image.Image:
    """An image of [side, side, 3] RGB in which nobody could annotate an object."""
    if junk == "blurred":
        return PIL.Image.fromarray(pixels).filter(PIL.ImageFilter.GaussianBlur(len(pixels) / _BLUR))
    spoilt = pixels * 2.0 + 140 if junk == "overexposed" else pixels * 0.08
    return PIL.Image.fromarray(np.clip(spoilt, 0, 255).astype(np.uint8))
