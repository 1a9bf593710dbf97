"""Offsets between priors and boxes, as R-CNN has them (Girshick et al. 2014, appendix C), with SSD's weights.

The functions of torchvision give the same bits. But importing torchvision takes a second, most of it for torch's
compiler, which nothing here calls; and a job of a small detector takes ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_GROWTH = math.log(1000 / 16)  # of a side, so that exp stays finite


@dataclass(frozen=True)
class BoxCoder:
    """Offsets (dx, dy, dw, dh) of a box relative to a prior.

    Attributes:
        weights: what the offsets are multiplied by: (x, y, w, h).
    """

    weights: tuple[float, float, float, float]

    def encode_single(self, boxes: Tensor, priors: Tensor) -> Tensor:
        """[n, 4] offsets of boxes [n, 4] from as many priors, both xyxy and with area."""
        weights = torch.as_tensor(self.weights, dtype=boxes.dtype, device=boxes.device)
        x, y, width, height = _centre_and_size(priors)
        to_x, to_y, to_width, to_height = _centre_and_size(boxes)
        offsets = (
            weights[0] * (to_x - x) / width,
            weights[1] * (to_y - y) / height,
            weights[2] * torch.log(to_width / width),
            weights[3] * torch.log(to_height / height),
        )
        return torch.stack(offsets, 1)

    def decode_single(self, offsets: Tensor, priors: Tensor) -> Tensor:
        """[n, 4] boxes, xyxy, of offsets [n, 4] from as many priors."""
        x, y, width, height = _centre_and_size(priors.to(offsets.dtype))
        dx, dy, dw, dh = (part / weight for part, weight in zip(offsets.unbind(1), self.weights, strict=True))
        half_width = 0.5 * (torch.exp(dw.clamp(max=LARGEST_GROWTH)) * width)
        half_height = 0.5 * (torch.exp(dh.clamp(max=LARGEST_GROWTH)) * height)
        x, y = dx * width + x, dy * height + y
        return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], 1)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each [n]: x and y of the centre, width and height."""
    x1, y1, x2, y2 = boxes.unbind(1)
    width, height = x2 - x1, y2 - y1
    return x1 + 0.5 * width, y1 + 0.5 * height, width, height
