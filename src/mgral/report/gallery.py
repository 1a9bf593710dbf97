"""The gallery: thumbnails of picked images with their ground truth, and why they were picked."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ImageDraw

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Detections, Image, Pick
from mgral.data import image_files
from mgral.data.image_cache import part
from mgral.report.figures import PALETTE
from mgral.report.sources import Cell, box_counts
from mgral.report.text import reason, term

SIDE = 224
FIRST = 8
THUMBNAILS = 280
SMALL = 96  # pixels, of the picks after the first
MOST_SMALL = 2000
SHOWN_ABOVE = 0.3  # score of the predictions that are drawn


@dataclass(frozen=True)
class Thumbnail:
    """One picked image.

    Attributes:
        data: a JPEG data URI with the ground truth, None where the file cannot be read.
        predicted: the same with the predictions of the cycle's detector; None where they were not kept.
        content: its boxes by class.
        reason: terms and values.
    """

    id: int
    file_name: str
    data: str | None
    predicted: str | None
    content: str
    reason: list[tuple[str, str]]


@dataclass(frozen=True)
class Row:
    """The picks of one cycle: the first large with their reasons, the rest small, what is beyond by name."""

    cycle: int
    picked: int
    thumbnails: list[Thumbnail]
    rest: list[Thumbnail]
    names: list[str]


def rows(
    selections: Sequence[Cell],
    dataset: Dataset,
    predictions: Mapping[tuple[str, int], Mapping[int, Detections]] | None = None,
) -> dict[str, list[Row]]:
    """The picks of each cycle by strategy, for the selections of one seed.

    Eight a row are large, or fewer where many rows would make the page heavier than some megabytes.

    Args:
        selections: best first.
        dataset: with the ground truth.
        predictions: by strategy and cycle, of picked images.

    Raises:
        MgralError: a picked id is not in the data set.
    """
    most = max(1, min(FIRST, THUMBNAILS // max(1, len(selections))))
    small = MOST_SMALL // max(1, len(selections))
    colours = class_colours(len(dataset.classes))
    found: dict[str, list[Row]] = {}
    for cell in selections:
        seen = (predictions or {}).get((cell.strategy, cell.cycle), {})
        for pick in cell.value:
            _known(pick, dataset, cell)
        large = [_thumbnail(pick, dataset, colours, SIDE, seen.get(pick.id)) for pick in cell.value[:most]]
        rest = [_thumbnail(pick, dataset, colours, SMALL) for pick in cell.value[most : most + small]]
        names = [dataset.images[pick.id].file_name for pick in cell.value[most + small :]]
        found.setdefault(cell.strategy, []).append(Row(cell.cycle, len(cell.value), large, rest, names))
    return found


def terms(rows: Sequence[Row], reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """The terms that some thumbnail's reason holds, each with what it is; in the order of ``reasons``."""
    shown = {key for row in rows for thumbnail in [*row.thumbnails, *row.rest] for key, _ in thumbnail.reason}
    return [(term(key), text) for key, text in reasons.items() if term(key) in shown]


def class_colours(count: int) -> list[str]:
    """A colour for each class, ``#rrggbb``: the palette, or even steps around the hues for more classes."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    steps = [colorsys.hls_to_rgb(i / count, 0.62 if i % 2 else 0.45, 0.85) for i in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in rgb) for rgb in steps]


def _known(pick: Pick, dataset: Dataset, cell: Cell) -> None:
    if pick.id not in dataset.images:
        raise MgralError(
            f"image {pick.id}, picked by {cell.strategy} (seed {cell.seed}, cycle {cell.cycle}), "
            "is not in the data set; run the selection again on this data set"
        )


def _thumbnail(
    pick: Pick, dataset: Dataset, colours: Sequence[str], side: int, seen: Detections | None = None
) -> Thumbnail:
    image = dataset.images[pick.id]
    counts = zip(dataset.classes, box_counts(dataset, [pick.id]), strict=True)
    content = ", ".join(f"{count} {name}" for name, count in counts if count)
    if not content:
        content = "no box" if pick.id in dataset.boxes else "not annotated"
    path = dataset.root / image.file_name
    truth = dataset.boxes.get(pick.id, Boxes.empty())
    data = _jpeg(path, image, truth, colours, side)
    predicted = None
    if seen is not None and data is not None:
        sure = seen.scores >= SHOWN_ABOVE
        boxes = Boxes(seen.xyxy[sure], seen.labels[sure], np.zeros(int(sure.sum()), bool))
        predicted = _jpeg(path, image, boxes, colours, side)
    return Thumbnail(pick.id, image.file_name, data, predicted, content, reason(pick.reason))


def _jpeg(path: Path, image: Image, boxes: Boxes, colours: Sequence[str], side: int) -> str | None:
    """The image within ``side`` pixels with its boxes drawn, ``ignore`` boxes left out, as a data URI."""
    share = min(1.0, side / max(image.width, image.height))
    try:
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        small = image_files.resized(part(path, image), size) if image.tile else image_files.shown(path, size)
    except image_files.UNREADABLE:
        return None
    draw = ImageDraw.Draw(small)
    width = 2 if side == SIDE else 1
    scale = (small.width / image.width, small.height / image.height) * 2
    for corners, label, ignore in zip(boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.ignore.tolist(), strict=True):
        if not ignore:
            at = [corner * factor for corner, factor in zip(corners, scale, strict=True)]
            draw.rectangle([*at[:2], max(at[0], at[2]), max(at[1], at[3])], outline=colours[label], width=width)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
