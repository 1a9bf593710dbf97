"""What a user's command leaves: losses, and COCO results that are checked entry by entry."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mgral.core import boxes as geometry
from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.types import Activation, Dataset, Detections, Doubles

log = logging.getLogger(__name__)

WHERE = "detector.options.predict"


class _Result(NamedTuple):
    image: int
    xyxy: Doubles
    score: float
    label: int
    probs: list[float]


def read_losses(path: Path, name: str) -> list[dict[str, float]]:
    """The rows of a CSV with the columns ``step`` and ``loss``; one row of step 0 and loss 0 if there is no file.

    Args:
        path: of the CSV.
        name: of the option, for the message.

    Raises:
        MgralError: it lacks a column, holds no row, or what is no number.
    """
    if not path.is_file():
        return [{"step": 0, "loss": 0.0}]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        if not rows or not {"step", "loss"} <= rows[0].keys():
            raise ValueError
    except (ValueError, TypeError, AttributeError, UnicodeDecodeError):
        raise MgralError(f"{name}: {{loss}} must be a CSV of numbers with the columns step and loss") from None
    return [{**row, "step": int(row["step"])} for row in rows]


def read_detections(
    path: Path, ids: Sequence[int], dataset: Dataset, activation: Activation, min_score: float, limit: int
) -> dict[int, Detections]:
    """COCO results as detections.

    Boxes are clipped to their image; those without area in it are left out, and their number is logged.

    Args:
        path: JSON list of ``image_id``, ``category_id`` (1 … C), ``bbox`` [x, y, width, height] in pixels of the
            image, ``score`` in 0..1, and, optionally, ``probs``: of C classes, for softmax with the background first.
        ids: the images that were asked for; each gets an entry.
        dataset: gives classes and sizes.
        activation: what ``probs`` holds. Without probs a sigmoid detector gets 0 for all other classes.
        min_score: lower scores are left out.
        limit: detections kept for an image.

    Raises:
        MgralError: the file is no such list, or an entry is of an unknown image or class or out of range.
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        raise MgralError(f"{WHERE}: {{results}} must hold a list of COCO results")
    width = len(dataset.classes) + (activation == "softmax")
    by_image: dict[int, list[_Result]] = {i: [] for i in ids}
    dropped = 0
    for k, row in enumerate(rows):
        found = _checked(row, k, by_image, dataset, width)
        if (found.xyxy[2:] <= found.xyxy[:2]).any():
            dropped += 1
        elif found.score >= min_score:
            by_image[found.image].append(found)
    if dropped:
        log.warning("predict: %d of %d boxes have no area inside their image; left out", dropped, len(rows))
    return {i: _stacked(found, width, limit) for i, found in by_image.items()}


def _checked(row: Any, k: int, ids: Mapping[int, Any], dataset: Dataset, width: int) -> _Result:
    """Entry ``k``, its box clipped. Raises MgralError."""
    where = f"{WHERE}: result {k}"
    if not isinstance(row, dict):
        raise MgralError(f"{where}: not an object with image_id, category_id, bbox and score")
    image, category, score, box = (row.get(key) for key in ("image_id", "category_id", "score", "bbox"))
    if not isinstance(image, int) or isinstance(image, bool) or image not in ids:
        raise MgralError(f"{where}: image_id {str(image)[:40]} was not asked for; use the ids of {{list}}")
    classes = len(dataset.classes)
    if not isinstance(category, int) or isinstance(category, bool) or not 1 <= category <= classes:
        raise MgralError(f"{where}: category_id {str(category)[:40]} is unknown; use the categories of {{train}}")
    value = _number(score)
    if value is None or not 0 <= value <= 1:
        raise MgralError(f"{where}: score {str(score)[:40]} is not a number in 0..1")
    corners = [_number(one) for one in box] if isinstance(box, list) else []
    if len(corners) != 4 or None in corners:
        raise MgralError(f"{where}: bbox {str(box)[:60]} is not four finite numbers [x, y, width, height]")
    size = dataset.images[image]
    xyxy = geometry.clip(geometry.xywh_to_xyxy(np.asarray([corners], np.float64)), size.width, size.height)[0]
    probs = row.get("probs")
    if probs is None:
        if width != classes:
            raise MgralError(f"{where}: no probs; softmax needs them, or set detector.options.activation: sigmoid")
        probs = [value if k == category - 1 else 0.0 for k in range(width)]
    return _Result(image, xyxy, value, category - 1, _probabilities(probs, where, width))


def _probabilities(given: Any, where: str, width: int) -> list[float]:
    probs = [_number(one) for one in given] if isinstance(given, list) else []
    kept = [one for one in probs if one is not None and 0 <= one <= 1]
    if len(probs) != width or len(kept) != width:
        raise MgralError(f"{where}: probs is not {width} numbers in 0..1")
    return kept


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _stacked(found: list[_Result], width: int, limit: int) -> Detections:
    """Detections of one image, best score first; equal scores in the order of the results."""
    best = sorted(found, key=lambda one: -one.score)[:limit]
    return Detections(
        np.asarray([one.xyxy for one in best], np.float32).reshape(-1, 4),
        np.asarray([one.score for one in best], np.float32),
        np.asarray([one.label for one in best], np.int64),
        np.asarray([one.probs for one in best], np.float32).reshape(-1, width),
    )
