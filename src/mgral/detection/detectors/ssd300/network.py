"""The backbone of SSD300."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """torchvision's VGG16 with SSD's extra layers; six maps at strides 8 to 300."""

    mean: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor([0.48235, 0.45882, 0.40784]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, 300, 300] in 0..1 to six maps [B, C, H, W], finest first."""
        return list(self.backbone((images - self.mean) * 255).values())  # Caffe's VGG: mean removed, 0..255
