"""ssdlite: SSDlite with MobileNetV3 (Howard et al. 2019), torchvision's backbone, head and priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.types import Activation

if TYPE_CHECKING:
    from mgral.detection.detectors._ssd import SSD


class Options(Settings):
    """Options of ssdlite."""

    weights: str | None = Field(
        None,
        description="local .safetensors or .pth of torchvision's ssdlite320_mobilenet_v3_large, or of MobileNetV3-"
        "Large of torchvision or timm (ImageNet; with reduced_tail: false); none: from scratch",
    )
    reduced_tail: bool = Field(
        True, description="half the channels in the backbone's last block, as in ssdlite320's own published weights"
    )


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> SSD:
    """SSDlite over MobileNetV3-Large; made for 320 pixels.

    Raises:
        MgralError: weights that do not fit, or an image size that is too small.
    """
    import torch

    from mgral.detection.detectors._ssd import SSD
    from mgral.detection.detectors._torchvision import check_maps
    from mgral.detection.detectors.ssdlite.network import Backbone, head, load_weights, network

    model = network(len(classes), options.reduced_tail)
    if options.weights is not None:
        load_weights(model, options.weights)
    backbone = Backbone(model.backbone)
    with torch.no_grad():
        check_maps(backbone.eval()(torch.zeros(1, 3, image_size, image_size)), image_size, "ssdlite")
    detector = SSD(len(classes), image_size, backbone, model.anchor_generator, head)
    detector.head.load_state_dict(model.head.state_dict())
    return detector
