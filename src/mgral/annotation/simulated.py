"""Simulated people: the data set's own boxes with the faults that people make.

Their answers go through the file formats of the tools, so an experiment on label noise runs the same code as a run
with people. What a person says of an image depends on the seed, the image and the person alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage
from mgral.config.annotation import AnnotatorNoise as Noise
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Boxes


def answer(image: BatchImage, truth: Boxes, batch: Batch, person: int, noise: Noise, seed: int) -> Answer:
    """What one person says of one image.

    Args:
        image: of the batch.
        truth: its boxes; those that are to be ignored are drawn like others and marked.
        batch: whose classes are meant.
        person: 1 for the first.
        noise: what people do wrong.
        seed: of the experiment.
    """
    rng = random_streams.generator(seed, "simulated annotator", image.id, person)
    count = len(batch.classes)
    boxes = []
    for xyxy, label, ignore in zip(truth.xyxy.astype(np.float64), truth.labels.tolist(), truth.ignore, strict=True):
        draws, edges = (
            rng.random(2),
            rng.normal(size=4),
        )  # for every box, so that no rate moves another
        other = int(rng.integers(1, max(count, 2)))
        if draws[0] < noise.miss:
            continue
        sides = np.tile(xyxy[2:] - xyxy[:2], 2)
        moved = _inside(xyxy + noise.jitter * edges * sides if noise.jitter else xyxy, image)
        if moved is not None:
            name = batch.classes[(label + other) % count if draws[1] < noise.wrong else label]
            boxes.append(AnswerBox(name, moved, "manual", ignore=bool(ignore)))
    for _ in range(int(rng.poisson(noise.extra)) if noise.extra else 0):
        corner, size = rng.random(2) * 0.8, 0.05 + rng.random(2) * 0.15
        scale = np.array([image.width, image.height])
        moved = _inside(np.concatenate([corner * scale, (corner + size) * scale]), image)
        if moved is not None:
            boxes.append(AnswerBox(batch.classes[int(rng.integers(count))], moved, "manual"))
    seconds = float(rng.gamma(4.0, noise.seconds * max(len(boxes), 1) / 4.0)) if noise.seconds else 0.0
    return Answer(
        image.export_name,
        "finished",
        tuple(boxes),
        id=image.id,
        sha256=image.sha256,
        batch=batch.id,
        size=(image.width, image.height),
        who=str(person),
        seconds=round(seconds, 3),
        at=f"2026-01-01T00:00:{person % 60:02d}Z",
    )


def answers(batch: Batch, truth: Mapping[int, Boxes], people: int, noise: Noise, seed: int) -> dict[int, list[Answer]]:
    """What all people say of a batch, by image id.

    Args:
        batch: that they are asked.
        truth: the boxes of each of its images.
        people: who each label every image.
        noise: what they do wrong.
        seed: of the experiment.

    Raises:
        MgralError: an image of the batch has no boxes to begin with.
    """
    missing = [image for image in batch.images if image.id not in truth]
    if missing:
        raise MgralError(
            f"oracle: simulated people know no boxes of image {missing[0].id} ({missing[0].file_name}); give a data "
            "set that is annotated throughout"
        )
    return {
        image.id: [answer(image, truth[image.id], batch, person, noise, seed) for person in range(1, people + 1)]
        for image in batch.images
    }


def _inside(xyxy: np.ndarray, image: BatchImage) -> tuple[float, float, float, float] | None:
    """Corners in order and inside the image; None if no area is left."""
    x1, x2 = sorted(np.clip(xyxy[[0, 2]], 0, image.width).tolist())
    y1, y2 = sorted(np.clip(xyxy[[1, 3]], 0, image.height).tolist())
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
