"""Priors and head of an SSD (Liu et al. 2016), as torchvision has them: the same numbers, the same names of weights.

torchvision itself takes a second to import; ``ssd300`` and ``ssdlite`` take their other parts from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Images(NamedTuple):
    """What generators of priors, torchvision's too, read of a batch: [B, 3, S, S], and B times (S, S)."""

    tensors: Tensor
    image_sizes: list[tuple[int, int]]


class Priors(Protocol):
    """A generator of priors: torchvision's ``DefaultBoxGenerator``, or :class:`DefaultBoxes`."""

    def num_anchors_per_location(self) -> list[int]:
        """Priors per cell of each map."""

    def __call__(self, images: Any, maps: list[Tensor], /) -> list[Tensor]:
        """For each image [P, 4] xyxy, pixels of the input."""


class DefaultBoxes:
    """Priors whose sides are shares of the image.

    Args:
        aspects: of each map: the ratios of the sides, beside 1. Of each there are a wide and a high prior.
        scales: side of each map's priors of aspect 1, as a share of the image, and one more; a second such prior has
            the geometric mean of this and the next scale.
    """

    def __init__(self, aspects: Sequence[Sequence[int]], scales: Sequence[float]) -> None:
        self._sides = []
        for own, scale, following in zip(aspects, scales[:-1], scales[1:], strict=True):
            between = math.sqrt(scale * following)
            sides = [[scale, scale], [between, between]]
            for root in map(math.sqrt, own):
                sides += [[scale * root, scale / root], [scale / root, scale * root]]
            self._sides.append(torch.tensor(sides))

    def num_anchors_per_location(self) -> list[int]:
        """Priors per cell of each map."""
        return [len(sides) for sides in self._sides]

    def __call__(self, images: Images, maps: list[Tensor]) -> list[Tensor]:
        """For each image [P, 4] xyxy, pixels of the input: map by map, row by row, cell by cell."""
        parts = []
        for features, sides in zip(maps, self._sides, strict=True):
            rows, columns = ((torch.arange(count) + 0.5) / count for count in features.shape[-2:])
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            centres = torch.stack([x.flatten(), y.flatten()], 1)  # [cells, 2]
            parts.append(torch.cat([centres.repeat_interleave(len(sides), 0), sides.repeat(len(centres), 1)], 1))
        centre, side = torch.cat(parts).split(2, 1)
        height, width = images.tensors.shape[-2:]
        size = torch.tensor([width, height])
        xyxy = torch.cat([(centre - 0.5 * side) * size, (centre + 0.5 * side) * size], 1)
        return [xyxy.to(maps[0].device)] * len(images.image_sizes)


class Head(nn.Module):
    """Two 3x3 convolutions over each map: class logits and box offsets.

    Args:
        channels: of each map.
        anchors: priors per cell of each map.
        columns: classes, the background among them.
    """

    def __init__(self, channels: list[int], anchors: list[int], columns: int) -> None:
        super().__init__()
        self.classification_head = _Columns(channels, anchors, columns)
        self.regression_head = _Columns(channels, anchors, 4)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """The maps, [B, C_l, H_l, W_l] each, to ``cls_logits`` [B, P, columns] and ``bbox_regression`` [B, P, 4]."""
        return {"bbox_regression": self.regression_head(maps), "cls_logits": self.classification_head(maps)}


class _Columns(nn.Module):
    """A convolution over each map, which says some numbers of each prior; weights after Glorot."""

    def __init__(self, channels: list[int], anchors: list[int], columns: int) -> None:
        super().__init__()
        pairs = zip(channels, anchors, strict=True)
        self.module_list = nn.ModuleList(nn.Conv2d(width, columns * count, 3, padding=1) for width, count in pairs)
        for layer in self.module_list:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.columns = columns

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The maps to [B, P, columns]."""
        said = []
        for layer, features in zip(self.module_list, maps, strict=True):
            found = layer(features)  # [B, anchors * columns, H, W]
            cells = found.view(len(found), -1, self.columns, *found.shape[2:]).permute(0, 3, 4, 1, 2)
            said.append(cells.reshape(len(found), -1, self.columns))
        return torch.cat(said, 1)
