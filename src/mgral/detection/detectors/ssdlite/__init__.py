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
        description="local .safetensors or .pth of torchvision's ssdlite320_mobilenet_v3_large; none: from scratch",
    )


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> SSD:
    """SSDlite over MobileNetV3-Large; made for 320 pixels.

    Raises:
        MgralError: weights that do not fit, or an image size that is too small.
    """
    from functools import partial

    import torch
    from torch import nn
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    from torchvision.models.detection.ssdlite import SSDLiteHead

    from mgral.detection.base import load_fitting, read_weights
    from mgral.detection.detectors._ssd import SSD
    from mgral.detection.detectors._torchvision import check_maps
    from mgral.detection.detectors.ssdlite.network import Backbone

    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=len(classes) + 1)
    if options.weights is not None:
        name = "torchvision's ssdlite320_mobilenet_v3_large"
        load_fitting(model, read_weights(options.weights), options.weights, name)
    backbone = Backbone(model.backbone)
    with torch.no_grad():
        check_maps(backbone.eval()(torch.zeros(1, 3, image_size, image_size)), image_size, "ssdlite")
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)  # torchvision's
    head = partial(SSDLiteHead, norm_layer=norm)
    detector = SSD(len(classes), image_size, backbone, model.anchor_generator, head)
    detector.head.load_state_dict(model.head.state_dict())
    return detector
