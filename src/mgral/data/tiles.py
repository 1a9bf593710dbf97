"""Large images, cut into overlapping tiles.

A tile is an :class:`mgral.core.types.Image` with ``tile``: its pixels are read from the file of the image it is a part
of, and nothing is copied. All tiles of an image are in its split. Tiles lie on a grid whose last row and column are
moved back to the side of the image, so that each is of full size, or as large as the image.

A box belongs to each tile that shows enough of it; where a tile shows less, that part is an ignored region, and no part
of an object becomes background.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from mgral.core import boxes as geometry
from mgral.core.errors import MgralError
from mgral.core.types import Bools, Boxes, Dataset, Image, Tiling

MOST = 10_000  # tiles of an image, so that their ids can be said from its id
_LARGEST_ID = 2**53 - 1  # exact in every JSON reader
_FEWEST = 10**6  # what ids of tiles begin with is a power of ten from here on, so that few more images change none


def cut(dataset: Dataset, ids: Iterable[int] | None = None) -> tuple[Dataset, dict[int, list[int]]]:
    """A data set with tiles in the place of its large images.

    Args:
        dataset: its ``tiling`` says how; without, nothing is cut.
        ids: of the images to cut; None: all.

    Returns:
        The data set, and by id of each image the ids of its tiles, row by row; of one that is not cut, itself.

    Raises:
        MgralError: an image would have more than ``MOST`` tiles.
    """
    if dataset.tiling is None:
        return dataset, {i: [i] for i in dataset.images}
    wanted = set(dataset.images if ids is None else ids)
    first = _FEWEST
    while first <= max(dataset.images, default=0):
        first *= 10
    images: dict[int, Image] = {}
    boxes: dict[int, Boxes] = {}
    parts: dict[int, list[int]] = {}
    for i, image in dataset.images.items():
        windows = corners(image, dataset.tiling) if i in wanted else [(0, 0)]
        truth = dataset.boxes.get(i)
        if len(windows) == 1:
            parts[i], images[i] = [i], image
            if truth is not None:
                boxes[i] = truth
            continue
        if len(windows) > MOST:
            raise MgralError(
                f"dataset.tiles.size: {dataset.tiling.size} cuts image {i} ({image.file_name}) into {len(windows)} "
                f"tiles; at most {MOST} are possible: set a larger one"
            )
        parts[i] = [(first + i) * MOST + k for k in range(len(windows))]
        for number, (x, y) in zip(parts[i], windows, strict=True):
            images[number] = _tile(image, number, x, y, dataset.tiling)
            if truth is not None:
                boxes[number] = _shown(truth, images[number], x, y, dataset.tiling.visible)
    return replace(dataset, images=dict(sorted(images.items())), boxes=boxes), parts


def corners(image: Image, tiling: Tiling) -> list[tuple[int, int]]:
    """The left and upper side of each tile of an image, row by row, pixels; a tile is not cut again.

    >>> corners(Image(1, "a.png", 250, 90, "train"), Tiling(100, 20, 0.5))
    [(0, 0), (80, 0), (150, 0)]
    """
    if image.tile is not None:
        return [(0, 0)]
    columns, rows = (_starts(side, tiling) for side in (image.width, image.height))
    return [(x, y) for y in rows for x in columns]


def joined(dataset: Dataset) -> Dataset:
    """The data set with whole images in the place of its tiles, for their ids, names, splits and classes.

    An object lies in it as often as tiles show it.
    """
    images: dict[int, Image] = {}
    boxes: dict[int, list[Boxes]] = {}
    for i, image in dataset.images.items():
        source, x, y = image.tile or (i, 0, 0)
        before = images.get(source, image)
        sides = max(before.width, x + image.width), max(before.height, y + image.height)
        images[source] = replace(image, id=source, width=sides[0], height=sides[1], tile=None)
        if (truth := dataset.boxes.get(i)) is not None:
            moved = truth.xyxy + np.array([x, y, x, y], np.float32)
            boxes.setdefault(source, []).append(replace(truth, xyxy=moved))
    whole = {
        i: Boxes(*(np.concatenate([getattr(part, key) for part in parts]) for key in ("xyxy", "labels", "ignore")))
        for i, parts in boxes.items()
    }
    return replace(dataset, images=dict(sorted(images.items())), boxes=whole)


def check_ids(dataset: Dataset) -> None:
    """Refuse ids of tiles that no JSON file can hold. Raises MgralError."""
    if max(dataset.images, default=0) > _LARGEST_ID:
        raise MgralError(
            f"dataset.tiles.by: tile: the ids of {dataset.root} are too large to number tiles by; number the images "
            "from 1, or set by: image"
        )


def unseen(dataset: Dataset) -> int:
    """Objects of a data set that no tile shows enough of: they are too large, and nothing can learn them."""
    tiling, count = dataset.tiling, 0
    if tiling is None:
        return 0
    for i, truth in dataset.boxes.items():
        windows = corners(dataset.images[i], tiling)
        seen = np.full(len(truth), len(windows) == 1)
        for x, y in windows:
            seen |= _shares(truth, _tile(dataset.images[i], i, x, y, tiling), x, y) >= tiling.visible
        count += int((~seen & ~truth.ignore).sum())
    return count


def _starts(side: int, tiling: Tiling) -> list[int]:
    if side <= tiling.size:
        return [0]
    return [*range(0, side - tiling.size, tiling.size - tiling.overlap), side - tiling.size]


def _tile(image: Image, number: int, x: int, y: int, tiling: Tiling) -> Image:
    width, height = min(tiling.size, image.width), min(tiling.size, image.height)
    return replace(image, id=number, width=width, height=height, tile=(image.id, x, y))


def _shares(truth: Boxes, tile: Image, x: int, y: int) -> np.ndarray:
    """[n] the share of each box that a tile shows, 0..1."""
    xyxy = truth.xyxy.astype(np.float64)
    return geometry.area(_moved(xyxy, tile, x, y)) / geometry.area(xyxy)


def _moved(xyxy: geometry.Array, tile: Image, x: int, y: int) -> geometry.Array:
    return geometry.clip(xyxy - np.array([x, y, x, y]), tile.width, tile.height)


def _shown(truth: Boxes, tile: Image, x: int, y: int, visible: float) -> Boxes:
    """The boxes of an image in a tile, in pixels of the tile."""
    xyxy = _moved(truth.xyxy.astype(np.float64), tile, x, y).astype(np.float32)
    there: Bools = np.asarray((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
    ignore: Bools = np.logical_or(truth.ignore, _shares(truth, tile, x, y) < visible)
    return Boxes(xyxy[there], truth.labels[there], ignore[there])
