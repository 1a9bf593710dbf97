"""What computes COCO's average precision: three libraries with the same interface and the same twelve numbers.

hotcoco (Rust) is fed with arrays; faster-coco-eval (C++) and pycocotools (Python) with a dictionary for each box, which
takes them longer than hotcoco's whole evaluation.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from mgral.core import boxes
from mgral.core.types import Boxes, Dataset, Detections, Ints

Engine = Literal["hotcoco", "faster_coco_eval", "pycocotools"]

ENGINES: tuple[Engine, ...] = get_args(Engine)
"""By speed, the fastest first. There are platforms without a wheel of the first two."""


def installed() -> list[Engine]:
    """The engines of this environment, the fastest first."""
    return [engine for engine in ENGINES if importlib.util.find_spec(engine)]


def coco_run(
    dataset: Dataset, detections: Mapping[int, Detections], ids: Iterable[int], engine: Engine | None = None
) -> Any:
    """An engine's own evaluation object, ready to run with COCO's parameters: its twelve numbers need no others.

    Args:
        dataset: ground truth.
        detections: by image id.
        ids: images to evaluate on, each once.
        engine: None for the fastest that is installed.

    Returns:
        A ``COCOeval``; ``evaluate()``, ``accumulate()`` and ``summarize()`` fill its ``stats``. To it, the images have
        the numbers 0, 1, … in ascending order of their ids.
    """
    ids = sorted(ids)
    engine = engine or installed()[0]
    objects, found = [dataset.boxes[i] for i in ids], [detections[i] for i in ids]
    if engine == "hotcoco":
        return _from_arrays(dataset.classes, objects, found)
    if engine == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

        logging.getLogger(engine).setLevel(logging.WARNING)  # else its progress, at each call
    truth = _rows(objects, "iscrowd", np.concatenate([one.ignore for one in objects]).astype(int).tolist())
    guesses = _rows(found, "score", np.concatenate([one.scores for one in found]).tolist())
    with contextlib.redirect_stdout(io.StringIO()):
        return COCOeval(
            *(_indexed(COCO(), dataset.classes, len(ids), annotations) for annotations in (truth, guesses)), "bbox"
        )


def _images(count: int) -> list[dict[str, Any]]:
    return [{"id": i, "file_name": "", "width": 0, "height": 0} for i in range(count)]


def _categories(classes: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"id": k, "name": name} for k, name in enumerate(classes)]


def _columns(parts: list[Boxes] | list[Detections]) -> tuple[Ints, boxes.Array, boxes.Array, Ints]:
    """The boxes of the images end to end: image [n], xywh [n, 4], area [n] and label [n]."""
    xyxy = np.concatenate([part.xyxy for part in parts]).astype(np.float64)
    image = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    return image, boxes.xyxy_to_xywh(xyxy), boxes.area(xyxy), np.concatenate([part.labels for part in parts])


def _from_arrays(classes: tuple[str, ...], objects: list[Boxes], found: list[Detections]) -> Any:
    import hotcoco

    image, xywh, area, labels = _columns(objects)
    crowd = np.concatenate([one.ignore for one in objects]).astype(np.int64)
    truth = hotcoco.COCO.from_arrays(
        _images(len(objects)), _categories(classes), image, labels, xywh, area=area, iscrowd=crowd
    )
    image, xywh, _, labels = _columns(found)
    scores = np.concatenate([one.scores for one in found])
    return hotcoco.COCOeval(truth, truth.load_res(np.column_stack([image, xywh, scores, labels])), "bbox")


def _rows(parts: list[Boxes] | list[Detections], name: str, values: list[Any]) -> list[dict[str, Any]]:
    """COCO annotations; their ids start at 1, since pycocotools reads a match with id 0 as no match."""
    rows = zip(*(column.tolist() for column in _columns(parts)), values, strict=True)
    return [
        {"id": n, "image_id": image, "category_id": k, "bbox": xywh, "area": area, name: value}
        for n, (image, xywh, area, k, value) in enumerate(rows, start=1)
    ]


def _indexed(coco: Any, classes: tuple[str, ...], images: int, annotations: list[dict[str, Any]]) -> Any:
    """``coco``, empty until now, as if it had read a COCO file of these annotations."""
    coco.dataset = {"images": _images(images), "categories": _categories(classes), "annotations": annotations}
    coco.createIndex()
    return coco
