"""The backbone of SSDlite."""

from __future__ import annotations

from torch import Tensor, nn


class Backbone(nn.Module):
    """MobileNetV3 and the layers after it; six maps at strides 16, 32 and so on."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, S, S] in 0..1 to maps, finest first."""
        return list(self.extractor((images - 0.5) * 2).values())
