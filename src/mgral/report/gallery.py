"""The gallery: thumbnails of picked images with their ground truth, and why they were picked."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageDraw

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image, Pick
from mgral.data import image_files
from mgral.report.figures import PALETTE
from mgral.report.sources import Cell, box_counts
from mgral.report.text import reason, term

SIDE = 224
FIRST = 8
THUMBNAILS = 280


@dataclass(frozen=True)
class Thumbnail:
    """One picked image: ``data`` is a JPEG data URI, None where the file cannot be read."""

    id: int
    file_name: str
    data: str | None
    content: str
    reason: list[tuple[str, str]]


@dataclass(frozen=True)
class Row:
    """The first picks of one cycle."""

    cycle: int
    picked: int
    thumbnails: list[Thumbnail]


def rows(selections: Sequence[Cell], dataset: Dataset) -> dict[str, list[Row]]:
    """The first picks of each cycle by strategy, for the selections of one seed.

    Eight a row, or fewer where many rows would make the page heavier than some megabytes.

    Raises:
        MgralError: a picked id is not in the data set.
    """
    most = max(1, min(FIRST, THUMBNAILS // max(1, len(selections))))
    colours = class_colours(len(dataset.classes))
    found: dict[str, list[Row]] = {}
    for cell in selections:
        thumbnails = [_thumbnail(pick, dataset, colours, cell) for pick in cell.value[:most]]
        found.setdefault(cell.strategy, []).append(Row(cell.cycle, len(cell.value), thumbnails))
    return found


def terms(rows: Sequence[Row], reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """The terms that some thumbnail's reason holds, each with what it is; in the order of ``reasons``."""
    shown = {key for row in rows for thumbnail in row.thumbnails for key, _ in thumbnail.reason}
    return [(term(key), text) for key, text in reasons.items() if term(key) in shown]


def class_colours(count: int) -> list[str]:
    """A colour for each class, ``#rrggbb``: the palette, or even steps around the hues for more classes."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    steps = [colorsys.hls_to_rgb(i / count, 0.62 if i % 2 else 0.45, 0.85) for i in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in rgb) for rgb in steps]


def _thumbnail(pick: Pick, dataset: Dataset, colours: Sequence[str], cell: Cell) -> Thumbnail:
    image = dataset.images.get(pick.id)
    if image is None:
        raise MgralError(
            f"image {pick.id}, picked by {cell.strategy} (seed {cell.seed}, cycle {cell.cycle}), "
            "is not in the data set; run the selection again on this data set"
        )
    counts = zip(dataset.classes, box_counts(dataset, [pick.id]), strict=True)
    content = ", ".join(f"{count} {name}" for name, count in counts if count)
    if not content:
        content = "no box" if pick.id in dataset.boxes else "not annotated"
    data = _jpeg(dataset.root / image.file_name, image, dataset.boxes.get(pick.id, Boxes.empty()), colours)
    return Thumbnail(pick.id, image.file_name, data, content, reason(pick.reason))


def _jpeg(path: Path, image: Image, boxes: Boxes, colours: Sequence[str]) -> str | None:
    """The image within 224 pixels with its boxes drawn, ``ignore`` boxes left out, as a data URI."""
    try:
        small = image_files.shown(path, draft=2 * SIDE)
    except image_files.UNREADABLE:
        return None
    small.thumbnail((SIDE, SIDE))
    draw = ImageDraw.Draw(small)
    scale = (small.width / image.width, small.height / image.height) * 2
    for corners, label, ignore in zip(boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.ignore.tolist(), strict=True):
        if not ignore:
            at = [corner * factor for corner, factor in zip(corners, scale, strict=True)]
            draw.rectangle(at, outline=colours[label], width=2)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
