"""A backbone of timm with four maps of one width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from mgral.detection.detectors._ssd import conv_bn


class Backbone(nn.Module):
    """The backbone's maps at strides 8 and 16, two more made from the last, all brought to one width.

    Args:
        backbone: timm's, with the maps at strides 8 and 16 among its features.
        width: channels of each map.
        freeze: keep the backbone as it is, its batch statistics included.
        mean: of the three channels, 0..1.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Any, width: int, freeze: bool, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        strides: list[int] = backbone.feature_info.reduction()
        channels: list[int] = backbone.feature_info.channels()
        self.backbone = backbone
        self._pick = [strides.index(8), strides.index(16)]
        self.freeze = freeze
        self.laterals = nn.ModuleList(conv_bn(channels[i], width, kernel=1) for i in self._pick)
        self.smooth = nn.ModuleList(conv_bn(width, width) for _ in self._pick)
        self.extra = nn.ModuleList([conv_bn(width, width, 2), conv_bn(width, width, 2)])
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.backbone.requires_grad_(not self.freeze)

    def train(self, mode: bool = True) -> Self:
        """As in torch; a frozen backbone keeps its batch statistics."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, S, S] in 0..1 to four maps [B, width, H, W], finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            maps = self.backbone((images - self.mean) / self.std)
        picked = [maps[i] for i in self._pick]
        out = [smooth(lateral(m)) for m, lateral, smooth in zip(picked, self.laterals, self.smooth, strict=True)]
        for layer in self.extra:
            out.append(layer(out[-1]))
        return out
