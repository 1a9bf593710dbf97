"""retinanet: RetinaNet with ResNet-50 and FPN (Lin et al. 2017), torchvision's backbone, head and anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Activation

if TYPE_CHECKING:
    from mgral.detection.detectors.retinanet.network import RetinaNet


class Options(Settings):
    """Options of retinanet."""

    weights: str | None = Field(
        None,
        description="local .safetensors or .pth of resnet50 (torchvision's, timm's or mmdet's; ImageNet, as in the "
        "papers), or of torchvision's retinanet_resnet50_fpn or mmdet's RetinaNet; none: from scratch",
    )


def activation(options: Options) -> Activation:
    """A sigmoid per class."""
    return "sigmoid"


def build(classes: Sequence[str], image_size: int, options: Options) -> RetinaNet:
    """RetinaNet R50-FPN.

    Raises:
        MgralError: weights that do not fit, or an image size that is too small.
    """
    from torchvision.models.detection import retinanet_resnet50_fpn

    from mgral.detection.detectors._torchvision import load_weights
    from mgral.detection.detectors.retinanet.network import RetinaNet

    model = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=len(classes))
    load_weights(model, options.weights, "resnet50", "retinanet_resnet50_fpn")
    return RetinaNet(len(classes), image_size, model)
