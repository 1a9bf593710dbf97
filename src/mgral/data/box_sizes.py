"""How large boxes are for a detector: their size in pixels of its input."""

from __future__ import annotations

import numpy as np

from mgral.core.types import SPLITS, Dataset, Doubles
from mgral.data.resizing import Resizing


def sides(dataset: Dataset, resizing: Resizing) -> dict[str, Doubles]:
    """Size √(width · height) of each box by split, in pixels of the detector's input; ``ignore`` boxes left out.

    Args:
        dataset: boxes in pixels of their image.
        resizing: how images become that input.
    """
    found: dict[str, Doubles] = {}
    for split in SPLITS:
        parts = []
        for i in dataset.ids(split):
            if i in dataset.boxes:
                boxes, image = dataset.boxes[i], dataset.images[i]
                xyxy = boxes.xyxy[~boxes.ignore].astype(np.float64)
                areas = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
                width, height = resizing.shape(image)
                parts.append(np.sqrt(areas / (image.width * image.height) * (width * height)))
        values = np.concatenate(parts) if parts else np.zeros(0)
        found[split] = values[values > 0]
    return found
