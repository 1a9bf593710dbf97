"""Augmentation of a batch for detection: flip, scale and shift, colour; boxes follow the pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mgral.core.types import Boxes, Floats

SCALE = (0.65, 1.6)  # zoom out to in; SSD's expansion and crop in one
COLOUR = 0.3  # largest relative change of contrast and saturation
BRIGHTNESS = 0.12  # largest shift, of 0..1


def augment(
    images: Tensor, boxes: Sequence[Boxes], generator: np.random.Generator, extent: Floats | None = None
) -> tuple[Tensor, list[Boxes]]:
    """Each image is flipped with probability 1/2, scaled and shifted with probability 1/2, and recoloured.

    What comes into view from outside is grey. As in SSD's crop (Liu et al. 2016, section 2.2), a box stays if
    its centre stays in view, and is clipped.

    Args:
        images: [B, 3, S, S] float, 0..1.
        boxes: per image, xyxy in pixels of the input.
        generator: all randomness of the batch.
        extent: [B, 2] the share of the input, 0..1, that each image fills from the left and from above. It is flipped,
            scaled and shifted within that part, and the rest stays grey. None: all of it.
    """
    count, size = len(images), images.shape[-1]
    share = np.ones((count, 2), np.float32) if extent is None else extent
    zoom = np.exp(generator.uniform(math.log(SCALE[0]), math.log(SCALE[1]), count))
    zoom = np.where(generator.random(count) < 0.5, zoom, 1.0)
    room = np.abs(1 - zoom)  # how far the image may shift, in half image sides
    shift = generator.uniform(-1, 1, (count, 2)) * room[:, None]
    slope = np.stack([zoom * np.where(generator.random(count) < 0.5, -1, 1), zoom], 1)  # [B, 2] for x, y
    images = recolour(_warp(images, slope, shift, share), generator)
    if extent is not None:
        images = _grey_outside(images, extent)
    return images, [_move(b, slope[i], shift[i], size * share[i]) for i, b in enumerate(boxes)]


def _warp(images: Tensor, slope: Floats, shift: Floats, share: Floats) -> Tensor:
    """Output coordinate = slope * input coordinate + shift, in -1..1 per axis of the part that the image fills.

    A coordinate o of a part of share r is r (o + 1) - 1 of the input.
    """
    inverse = np.zeros((len(images), 2, 3), np.float32)
    inverse[:, 0, 0], inverse[:, 1, 1] = 1 / slope[:, 0], 1 / slope[:, 1]
    inverse[:, :, 2] = -shift / slope + (share - 1) * (1 - (1 + shift) / slope)
    return warp(images, inverse)


def _grey_outside(images: Tensor, extent: Floats) -> Tensor:
    """Images [B, 3, S, S] with what lies beyond the part of each made grey."""
    places = torch.arange(images.shape[-1], device=images.device) + 0.5
    columns, rows = torch.from_numpy(extent * images.shape[-1]).to(images.device).T[:, :, None] > places  # [2, B, S]
    seen = (rows[:, :, None] & columns[:, None, :])[:, None]
    return images.where(seen, 0.5)


def warp(images: Tensor, inverse: Floats) -> Tensor:
    """Move the pixels of each image; what comes into view from outside is grey.

    Args:
        images: [B, 3, S, S] float, 0..1.
        inverse: [B, 2, 3] float32, where each output pixel comes from: input coordinate = inverse · (output coordinate,
            1), for x and y in -1..1 across the image.
    """
    theta = torch.from_numpy(inverse).to(images.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images - 0.5, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.add_(0.5)


def _move(boxes: Boxes, slope: Floats, shift: Floats, size: Floats) -> Boxes:
    """Boxes of an image [2] pixels wide and high."""
    points = boxes.xyxy.reshape(-1, 2, 2) * (2 / size) - 1
    points = (points * slope + shift + 1) * (size / 2)
    points = np.sort(points, axis=1)  # a flip swaps left and right
    centre = points.mean(1)
    seen = ((centre > 0) & (centre < size)).all(1)
    xyxy = np.clip(points, 0, size).reshape(-1, 4).astype(np.float32)
    seen &= ((xyxy[:, 2:] - xyxy[:, :2]) > 1).all(1)
    return Boxes(xyxy[seen], boxes.labels[seen], boxes.ignore[seen])


def mirror(boxes: Boxes, size: int) -> Boxes:
    """Boxes of the image flipped left to right; xyxy in pixels of an input ``size`` wide."""
    x1, y1, x2, y2 = boxes.xyxy.T
    return Boxes(np.stack([size - x2, y1, size - x1, y2], 1), boxes.labels, boxes.ignore)


def recolour(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Contrast, brightness and saturation of each image [B, 3, S, S], 0..1, changed at random."""

    def draw(limit: float) -> Tensor:
        values = generator.uniform(-limit, limit, (len(images), 1, 1, 1))
        return torch.from_numpy(values.astype(np.float32)).to(images.device)

    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean).mul_(1 + draw(COLOUR)).add_(mean).add_(draw(BRIGHTNESS))
    grey = images.mean(1, keepdim=True)
    return images.sub_(grey).mul_(1 + draw(COLOUR)).add_(grey).clamp_(0, 1)
