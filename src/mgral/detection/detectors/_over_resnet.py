"""Options that detectors over a ResNet with FPN share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mgral.config.base import Settings


class OverResNet(Settings):
    """Options of a detector over a ResNet with FPN."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = Field(
        "resnet50", description="depth of the ResNet below the FPN; resnet18 for a processor"
    )
    weights: str | None = Field(
        None,
        description="local .safetensors or .pth of the ResNet of that depth (torchvision's, timm's or mmdet's), or "
        "of the whole detector; none: from scratch",
    )
