"""Box arithmetic in NumPy: corners (xyxy) are the one form in memory, all else is converted at the border.

Coordinates are continuous pixels: a box spans [x1, x2) × [y1, y2), its width is x2 - x1, and a box that fills
an image is (0, 0, width, height).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


def xywh_to_xyxy(xywh: npt.ArrayLike) -> Array:
    """[…, 4] left, top, width, height (COCO) → corners."""
    x, y, w, h = _columns(xywh)
    return np.stack([x, y, x + w, y + h], axis=-1)


def xyxy_to_xywh(xyxy: npt.ArrayLike) -> Array:
    """[…, 4] corners → left, top, width, height (COCO)."""
    x1, y1, x2, y2 = _columns(xyxy)
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def cxcywh_to_xyxy(cxcywh: npt.ArrayLike) -> Array:
    """[…, 4] centre, width, height (YOLO) → corners, in the same unit."""
    cx, cy, w, h = _columns(cxcywh)
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=-1)


def area(xyxy: npt.ArrayLike) -> Array:
    """[…, 4] → […] areas in square pixels; 0 for a box whose corners are out of order."""
    x1, y1, x2, y2 = _columns(xyxy)
    return np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """Intersection over union of each pair.

    Args:
        a: [n, 4] corners.
        b: [m, 4] corners.

    Returns:
        [n, m] in 0..1; 0 where both boxes have no area.
    """
    a, b = np.asarray(a).reshape(-1, 4), np.asarray(b).reshape(-1, 4)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = area(np.concatenate([top_left, bottom_right], axis=-1))
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def clip(xyxy: npt.ArrayLike, width: float, height: float) -> Array:
    """[…, 4] corners moved into 0..width and 0..height; a box outside becomes one without area."""
    array = _floats(xyxy)
    return np.clip(array, 0, np.array([width, height, width, height], array.dtype))


def _floats(boxes: npt.ArrayLike) -> Array:
    """Whole numbers become float64; float32 is kept as it is."""
    array = np.asarray(boxes)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def _columns(boxes: npt.ArrayLike) -> tuple[Array, Array, Array, Array]:
    array = _floats(boxes)
    return array[..., 0], array[..., 1], array[..., 2], array[..., 3]
