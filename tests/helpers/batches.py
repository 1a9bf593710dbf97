"""Batches for tests of annotation: images with hostile names, and what people say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage, Prediction
from mgral.data.identity import sha256_of

CLASSES = ("zebra", 'red & <white> "cell"', "ähre", "ant")
HOSTILE = (
    "a/1.png",
    "b/1.png",
    "my photo (1) é.png",
    'it\'s "quoted" & <odd>.png',
    "100%25 sure?.png",
    "漢字 #1.png",
    "1.png",
    "deadbeef-1.png",
)


def images(root: Path, names: Sequence[str] = HOSTILE, size: tuple[int, int] = (64, 48)) -> list[BatchImage]:
    """Write pictures that differ; ids count from 1, sizes differ by image."""
    found = []
    for number, name in enumerate(names, start=1):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size[0] + number % 5, size[1] + number % 7
        Image.new("RGB", (width, height), (number % 256, number // 256, 7)).save(path)
        found.append(BatchImage(number, name, width, height, sha256_of(path), number, 1 / number, {"entropy": 0.5}))
    return found


def batch(root: Path, found: Sequence[BatchImage], cycle: int = 0, experiment: str = "mine") -> Batch:
    return Batch(experiment, cycle, CLASSES, root, tuple(found))


def some_boxes(image: BatchImage, rng: np.random.Generator, count: int, whole: bool) -> tuple[AnswerBox, ...]:
    """Boxes inside an image, at whole pixels or anywhere."""
    boxes = []
    for _ in range(count):
        x1, y1 = rng.uniform(0, image.width - 9), rng.uniform(0, image.height - 9)
        x2, y2 = rng.uniform(x1 + 2, image.width), rng.uniform(y1 + 2, image.height)
        corners: Any = tuple(float(int(v)) for v in (x1, y1, x2, y2)) if whole else (x1, y1, x2, y2)
        boxes.append(AnswerBox(CLASSES[int(rng.integers(len(CLASSES)))], corners, "manual"))
    return tuple(boxes)


def said(image: BatchImage, state: Any, boxes: tuple[AnswerBox, ...] = (), who: str = "1", **more: Any) -> Answer:
    at = more.pop("at", "2026-02-03T04:05:06Z")
    return Answer(image.export_name, state, boxes, who=who, seconds=more.pop("seconds", 12.5), at=at, **more)


def predicted(boxes: Sequence[AnswerBox]) -> tuple[Prediction, ...]:
    return tuple(Prediction(box.label, box.xyxy, 0.5) for box in boxes)
