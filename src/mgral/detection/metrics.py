"""What a detector is worth: ``metrics.json`` of the cycle's, ``own.json`` of one that a strategy trained for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.types import Dataset, Detect, Doubles
from mgral.data.pool import Pool

VOC_METRICS: tuple[Literal["11point", "area"], ...] = ("11point", "area")


def write(path: Path, dataset: Dataset, pool: Pool, detect: Detect, max_detections: int) -> None:
    """Evaluate a detector on val and test, and write that with what its labels cost.

    Beside COCO's mAP and AP50 stand those of the PASCAL VOC kit at the same overlap: ``AP50_11point`` (VOC 2007) and
    ``AP50_area`` (VOC 2010 and later), and how many detections are ``confident`` and how many of these are right
    (:func:`mgral.detection.correct_detections.confident`).

    Args:
        path: of the file.
        dataset: ground truth.
        pool: what it was trained on.
        detect: what it finds.
        max_detections: per image, see :func:`mgral.detection.average_precision.evaluate`.

    Raises:
        MgralError: no ground truth in a split.
    """
    from mgral.core.files import write_json
    from mgral.detection.average_precision import evaluate, voc_ap
    from mgral.detection.correct_detections import confident

    results = {}
    for split in ("val", "test"):
        ids = dataset.ids(split)
        found = detect(ids)
        voc = {f"AP50_{how}": voc_ap(dataset, found, ids, metric=how)["mAP"] for how in VOC_METRICS}
        count, right = confident(dataset.boxes, found, ids)
        sure = {"confident": {"detections": count, "right": right}}
        results[split] = {**evaluate(dataset, found, ids, max_detections), **voc, **sure}
    write_json(path, {"cycle": pool.cycle, **_labelled(dataset, pool), **results})


def read_competence(path: Path, classes: Sequence[str]) -> Doubles:
    """[C] AP on val by class, 0..1; 0 for a class without ground truth there.

    Args:
        path: ``metrics.json`` of the cycle.
        classes: names, in their order.

    Raises:
        MgralError: the file is missing, or lacks the AP of a class.
    """
    data = read_json(path)
    try:
        per_class = data["val"]["per_class"]
        found = [per_class[name] for name in classes]
        return np.array([0.0 if value is None else float(value) for value in found])
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{path}: lacks the AP on val of the data set's classes; run `mgral train` again") from None


def read_confident(path: Path) -> tuple[int, int]:
    """Confident detections on val, and how many of them are right.

    Args:
        path: ``metrics.json`` of the cycle.

    Raises:
        MgralError: the file is missing, or lacks the counts.
    """
    data = read_json(path)
    try:
        found = data["val"]["confident"]
        count, right = int(found["detections"]), int(found["right"])
    except (KeyError, TypeError, ValueError):
        count, right = -1, -1
    if not 0 <= right <= count:
        raise MgralError(f"{path}: lacks the confident detections on val; run `mgral train` again")
    return count, right


def _labelled(dataset: Dataset, pool: Pool) -> dict[str, Any]:
    """What the labels of the pool cost, in images and in boxes."""
    counts: Counter[int] = Counter()
    for i in pool.labelled_ids:
        counts.update(dataset.boxes[i].labels.tolist())
    classes = {name: counts[k] for k, name in enumerate(dataset.classes)}
    return {"images": len(pool.labelled), "boxes": sum(counts.values()), "classes": classes}
