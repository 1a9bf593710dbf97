"""Average precision of detections: COCO's through an installed engine, and PASCAL VOC's own.

Both rank all detections of a class by score over all images, match them greedily to ground truth, and average
the precision over recall. They differ in the matching. COCO gives a detection the best ground truth *that is
still free*, at ten IoU thresholds; VOC gives it the best ground truth there is, and a second detection of the
same object is a false positive. Objects marked ``ignore`` are not to be found, and what falls on them is
neither right nor wrong.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from mgral.core import boxes
from mgral.core.errors import MgralError
from mgral.core.types import Bools, Dataset, Detections, Doubles, Ints
from mgral.detection.coco_engines import Engine, coco_run

_EVERY_AREA = [0.0, 1e10]  # square pixels; COCO's own bound for "all"


class VocMetrics(TypedDict):
    """Average precision at one IoU threshold, 0..1.

    Attributes:
        mAP: mean over the classes that have ground truth.
        per_class: AP by class name; None for a class without ground truth.
    """

    mAP: float
    per_class: dict[str, float | None]


class Metrics(VocMetrics):
    """Average precision after COCO, 0..1: mean over the IoU thresholds 0.50, 0.55, …, 0.95.

    Attributes:
        AP50: mean over the classes at the IoU threshold 0.50 alone.
    """

    AP50: float


def evaluate(
    dataset: Dataset,
    detections: Mapping[int, Detections],
    ids: Iterable[int],
    max_detections: int = 100,
    engine: Engine | None = None,
) -> Metrics:
    """mAP after COCO (Lin et al. 2014; cocodataset.org/#detection-eval).

    Precision is interpolated at the recalls 0, 0.01, …, 1. ``ignore`` boxes enter as crowd regions: any
    number of detections may lie on one, and the overlap that counts is the share of the detection inside it.

    Args:
        dataset: ground truth.
        detections: by image id; an image in which nothing was found has an entry of length 0.
        ids: images to evaluate on; detections of others are not looked at.
        max_detections: per image and class, best first (evaluation.max_detections; COCO: 100).
        engine: what computes it; None: the first that is installed. All give the same.

    Raises:
        MgralError: an image is unknown, not annotated or has no detections entry; a detection is not finite;
            or there is no ground truth at all.
    """
    ids = _check(dataset, detections, ids)
    run = coco_run(dataset, detections, ids, engine)
    run.params.maxDets = [max_detections]
    run.params.areaRng, run.params.areaRngLbl = [_EVERY_AREA], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        run.evaluate()
        run.accumulate()
    precision = np.asarray(run.eval["precision"])[..., 0, 0]  # [10 IoU thresholds, 101 recalls, C]; -1: no ground truth
    present = precision[0, 0] > -1
    by_class = precision.mean(axis=(0, 1))
    return {
        "mAP": float(by_class[present].mean()),
        "AP50": float(precision[0][:, present].mean()),
        "per_class": _by_name(dataset, by_class, present),
    }


def voc_ap(
    dataset: Dataset,
    detections: Mapping[int, Detections],
    ids: Iterable[int],
    iou: float = 0.5,
    metric: Literal["area", "11point"] = "area",
) -> VocMetrics:
    """AP as the PASCAL VOC development kit computes it (Everingham et al. 2010; VOCevaldet.m, VOCap.m).

    In order of score, each detection looks up the object of its class and image that it overlaps most. Below
    ``iou`` it is a false positive; on an ``ignore`` (``difficult``) object it is left out; else it is right
    if it is the first on that object, and a false positive if not. Equal scores keep the order of image id,
    then the order within the image.

    Widths are x2 - x1, without the kit's ``+ 1``: that belongs to 1-based whole pixels, both ends included,
    where xmin … xmax cover the continuous span xmin - 1 … xmax. Boxes here are that span already, so the IoU
    is the kit's; adding 1 again would raise the IoU of small boxes.

    Args:
        dataset: ground truth.
        detections: by image id; an image in which nothing was found has an entry of length 0.
        ids: images to evaluate on.
        iou: least overlap of a match, in 0..1, reached or exceeded.
        metric: ``area`` under the envelope of precision over recall (VOC 2010 and later), or the mean of the
            envelope at the recalls 0, 0.1, …, 1 (``11point``, VOC 2007).

    Raises:
        MgralError: as :func:`evaluate`.
    """
    ids = _check(dataset, detections, ids)
    scores, labels, target, ignored = _best_objects(dataset, detections, ids, iou)
    average = _area if metric == "area" else _eleven_points
    objects = _objects_per_class(dataset, ids)
    by_class = np.zeros(len(dataset.classes))
    for k in np.flatnonzero(objects):
        chosen = np.flatnonzero((labels == k) & ~ignored)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        by_class[k] = average(_first_on_object(target[chosen]), int(objects[k]))
    return {"mAP": float(by_class[objects > 0].mean()), "per_class": _by_name(dataset, by_class, objects > 0)}


def _check(dataset: Dataset, detections: Mapping[int, Detections], ids: Iterable[int]) -> list[int]:
    """``ids``, ascending and each once, if an average precision can be computed on them."""
    ids = sorted(set(ids))
    for i in ids:
        if i not in dataset.images:
            raise MgralError(f"image {i} is not in the data set; evaluate on ids of its val or test split")
        if i not in dataset.boxes:
            raise MgralError(f"image {i} is not annotated; evaluate on annotated images only")
        if i not in detections:
            raise MgralError(f"image {i} has no detections entry; run the detector on it, an empty result is one too")
        finite = np.isfinite(detections[i].scores) & np.isfinite(detections[i].xyxy).all(axis=1)
        if not finite.all():
            raise MgralError(
                f"image {i}: detection {int(np.argmin(finite))} is not finite (the training diverged); "
                "lower training.learning_rate"
            )
    if not _objects_per_class(dataset, ids).any():
        raise MgralError(f"no ground truth in the {len(ids)} images to evaluate on; annotate some, or change the split")
    return ids


def _objects_per_class(dataset: Dataset, ids: list[int]) -> Ints:
    """[C] number of objects to be found."""
    labels = [dataset.boxes[i].labels[~dataset.boxes[i].ignore] for i in ids]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=len(dataset.classes))


def _by_name(dataset: Dataset, by_class: Doubles, present: Bools) -> dict[str, float | None]:
    rows = zip(dataset.classes, by_class, present, strict=True)
    return {name: float(value) if here else None for name, value, here in rows}


def _best_objects(
    dataset: Dataset, detections: Mapping[int, Detections], ids: list[int], threshold: float
) -> tuple[npt.NDArray[np.float32], Ints, Ints, Bools]:
    """What each detection falls on, the images' detections end to end.

    Returns:
        Scores [n], labels [n], number of the object [n] (-1: none; objects count on from image to image), and
        whether that object is ignored [n].
    """
    scores, labels, targets, ignored = [], [], [], []
    before = 0
    for i in ids:
        objects, seen = dataset.boxes[i], detections[i]
        target, skip = np.full(len(seen), -1), np.zeros(len(seen), np.bool_)
        if len(objects) and len(seen):
            overlap = boxes.iou(seen.xyxy.astype(np.float64), objects.xyxy.astype(np.float64))
            overlap = np.where(seen.labels[:, None] == objects.labels[None, :], overlap, -1.0)
            best = overlap.argmax(axis=1)
            hit = overlap.max(axis=1) >= threshold
            target = np.where(hit, before + best, -1)
            skip = hit & objects.ignore[best]
        before += len(objects)
        scores.append(seen.scores)
        labels.append(seen.labels)
        targets.append(target)
        ignored.append(skip)
    return np.concatenate(scores), np.concatenate(labels), np.concatenate(targets), np.concatenate(ignored)


def _first_on_object(targets: Ints) -> Bools:
    """[n] targets of detections, best first → which are right: the first on its object."""
    right = np.zeros(len(targets), np.bool_)
    right[np.unique(targets, return_index=True)[1]] = True
    return right & (targets >= 0)


def _envelope(right: Bools) -> Doubles:
    """[n] the highest precision after each detection, best first, or any later one."""
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def _area(right: Bools, objects: int) -> float:
    """Area under the envelope: every right detection adds a step of recall 1 / objects (VOCap.m)."""
    return float(_envelope(right)[right].sum() / objects)


def _eleven_points(right: Bools, objects: int) -> float:
    """Mean of the envelope at the recalls k / 10, k = 0 … 10; 0 where one is never reached (VOCap.m, 2007).

    Whole numbers are compared, 10 · found >= k · objects: 3 of 10 objects do reach the recall 0.3.
    """
    first = np.searchsorted(10 * np.cumsum(right), np.arange(11) * objects)
    return float(np.append(_envelope(right), 0.0)[first].sum() / 11)
