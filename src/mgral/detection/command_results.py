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
from mgral.core.types import Activation, Detections, Doubles, Image

log = logging.getLogger(__name__)

WHERE = "detector.options.predict"
LARGEST = 2**53  # of a step: exact in every reader
SUM_WITHIN = 0.01  # of 1: what a softmax in half precision, written with three digits, may be off


class _Result(NamedTuple):
    image: int
    xyxy: Doubles
    score: float
    label: int
    probs: list[float]


def read_losses(path: Path, name: str) -> list[dict[str, float]]:
    """The rows of a CSV with the columns ``step`` and ``loss``.

    Args:
        path: of the CSV.
        name: of the option, for the message.

    Raises:
        MgralError: it is missing, lacks a column, or holds no row or what is no finite number.
    """
    require_output(path, name, "loss")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        if not rows or not {"step", "loss"} <= rows[0].keys():
            raise ValueError
        if not all(math.isfinite(value) for row in rows for value in row.values()):
            raise ValueError
        if not all(row["step"].is_integer() and abs(row["step"]) <= LARGEST for row in rows):
            raise ValueError
    except (ValueError, TypeError, AttributeError, csv.Error):
        raise MgralError(
            f"{name}: {{loss}} is no CSV of finite numbers with the columns step, whole numbers, and loss; write one "
            "row a step, with these columns"
        ) from None
    return [{**row, "step": int(row["step"])} for row in rows]


def require_output(path: Path, name: str, placeholder: str) -> None:
    """Refuse a command that did not write what its command line names.

    Args:
        path: of a file.
        name: of the option, for the message.
        placeholder: that stood for the path.

    Raises:
        MgralError: there is no such file.
    """
    if path.is_dir():
        raise MgralError(f"{name}: {{{placeholder}}} is a folder now; write a file of that name")
    if not path.is_file():
        raise MgralError(
            f"{name}: the command left no {placeholder}; it must write the file {{{placeholder}}}"
            + ("" if placeholder == "results" else ", or leave it out of the command line")
        )


def read_detections(
    path: Path, images: Sequence[Image], classes: int, activation: Activation, min_score: float, limit: int
) -> dict[int, Detections]:
    """COCO results as detections.

    Boxes are clipped to their image. Those without area in it and what is duplicated, that is equal to an earlier entry
    in image, class, box and score, are left out, and their numbers are logged. An image without entry has none.

    Args:
        path: JSON list of ``image_id``, ``category_id`` (1 … C), ``bbox`` [x, y, width, height] in pixels of the
            image, ``score`` in 0..1, and, optionally, ``probs``: of C classes, for softmax with the background first.
        images: those that were asked for, or tiles; each gets an entry.
        classes: C.
        activation: what ``probs`` holds. Without probs a sigmoid detector gets 0 for all other classes.
        min_score: lower scores are left out.
        limit: detections kept for an image.

    Raises:
        MgralError: the file is no such list, or an entry is of an unknown image or class or out of range.
    """
    rows = _read_list(path)
    width = classes + (activation == "softmax")
    sizes = {one.id: one for one in images}
    by_image: dict[int, list[_Result]] = {i: [] for i in sizes}
    dropped, twice, before = 0, 0, set[tuple[float, ...]]()
    for k, row in enumerate(rows):
        found = _checked(row, k, sizes, classes, width)
        before.add((found.image, found.label, found.score, *row["bbox"]))
        if len(before) + twice <= k:
            twice += 1
        elif (found.xyxy[2:] <= found.xyxy[:2]).any():
            dropped += 1
        elif found.score >= min_score:
            by_image[found.image].append(found)
    if dropped:
        log.warning("predict: %d of %d boxes have no area inside their image; left out", dropped, len(rows))
    if twice:
        log.warning("predict: %d of %d results are duplicated; left out", twice, len(rows))
    if rows and max(abs(float(corner)) for row in rows for corner in row["bbox"]) <= 1:
        log.warning(
            "predict: all boxes lie in the first pixel of their image; bbox is in pixels, not in shares of the sides"
        )
    empty = sum(not found for found in by_image.values())
    if empty:
        log.info("predict: no detection of score %g or more in %d of %d images", min_score, empty, len(by_image))
    return {i: _stacked(found, width, limit) for i, found in by_image.items()}


def _read_list(path: Path) -> list[Any]:
    """The entries of a file of results. Raises MgralError."""
    require_output(path, WHERE, "results")
    try:
        rows = read_json(path, halves=True)  # maybe in keys that nothing reads
    except MgralError as error:
        raise MgralError(f"{WHERE}: {{results}}{str(error).removeprefix(str(path))}") from None
    if not isinstance(rows, list):
        raise MgralError(
            f"{WHERE}: {{results}} holds no list; write a JSON list of COCO results, without objects around"
        )
    return rows


def _checked(row: Any, k: int, images: Mapping[int, Image], classes: int, width: int) -> _Result:
    """Entry ``k``, its box clipped. Raises MgralError."""
    where = f"{WHERE}: result {k}"
    if not isinstance(row, dict):
        raise MgralError(f"{where}: {_shown(row)} is no object; write image_id, category_id, bbox and score of each")
    score, box = row.get("score"), row.get("bbox")
    image = _whole_number(row, "image_id", where, "ids of {list}")
    if image not in images:
        raise MgralError(f"{where}: image_id {_shown(image)} was not asked for; use the ids of {{list}}")
    category = _whole_number(row, "category_id", where, "categories of {train}")
    if not 1 <= category <= classes:
        raise MgralError(f"{where}: category_id {_shown(category)} is unknown; use the categories of {{train}}")
    value = _number(score)
    if value is None or not 0 <= value <= 1:
        raise MgralError(f"{where}: score {_shown(score)} is not a number in 0..1; write probabilities")
    corners = [_number(one) for one in box] if isinstance(box, list) else []
    if len(corners) != 4 or None in corners:
        raise MgralError(
            f"{where}: bbox {_shown(box, 60)} is not four finite numbers; write [x, y, width, height] in pixels"
        )
    size = images[image]
    xyxy = geometry.clip(geometry.xywh_to_xyxy(np.asarray([corners], np.float64)), size.width, size.height)[0]
    probs = row.get("probs")
    if probs is None:
        if width != classes:
            raise MgralError(f"{where}: no probs; softmax needs them, or set detector.options.activation: sigmoid")
        probs = [value if k == category - 1 else 0.0 for k in range(width)]
    return _Result(image, xyxy, value, category - 1, _probabilities(probs, where, width, width != classes))


def _whole_number(row: Mapping[str, Any], key: str, where: str, source: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MgralError(f"{where}: {key} {_shown(value)} is not a whole number; use the {source}")
    return value


def _probabilities(given: Any, where: str, width: int, background: bool) -> list[float]:
    probs = [_number(one) for one in given] if isinstance(given, list) else []
    kept = [one for one in probs if one is not None and 0 <= one <= 1]
    if len(probs) != width or len(kept) != width:
        order = "the background's first" if background else "one a category"
        raise MgralError(f"{where}: probs is not {width} numbers in 0..1; write {order}, or leave probs out")
    if background and abs(math.fsum(kept) - 1) > SUM_WITHIN:
        raise MgralError(
            f"{where}: probs sum to {math.fsum(kept):.3f}; a softmax sums to 1, the background included: write that, "
            "or set detector.options.activation: sigmoid"
        )
    return kept


def _shown(value: Any, most: int = 40) -> str:
    """A value in one short line."""
    return repr(value)[:most]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond 1.8e308
        return None
    return number if math.isfinite(number) else None


def _stacked(found: list[_Result], width: int, limit: int) -> Detections:
    """Detections of one image, best score first; equal scores in the order of the results."""
    best = sorted(found, key=lambda one: -one.score)[:limit]
    return Detections(
        np.asarray([one.xyxy for one in best], np.float32).reshape(-1, 4),
        np.asarray([one.score for one in best], np.float32),
        np.asarray([one.label for one in best], np.int64),
        np.asarray([one.probs for one in best], np.float32).reshape(-1, width),
    )
