"""fcos: FCOS with a ResNet and FPN (Tian et al. 2019), torchvision's backbone, head and losses; no anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mgral.core.types import Activation
from mgral.detection.detectors._over_resnet import OverResNet

if TYPE_CHECKING:
    from mgral.detection.detectors.fcos.network import PointDetector

PRIORS = False


class Options(OverResNet):
    """Options of fcos."""


def activation(options: Options) -> Activation:
    """A sigmoid per class."""
    return "sigmoid"


def build(classes: Sequence[str], image_size: int, options: Options) -> PointDetector:
    """FCOS over a ResNet.

    Raises:
        MgralError: weights that do not fit, or an image size that is too small.
    """
    from torch import nn
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    from mgral.detection.detectors._torchvision import load_weights
    from mgral.detection.detectors.fcos.network import PointDetector

    backbone = resnet_fpn_backbone(
        backbone_name=options.backbone,
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    model = FCOS(backbone, len(classes))
    nn.init.ones_(model.head.regression_head.bbox_reg.bias)
    load_weights(model, options.weights, options.backbone, "fcos_resnet50_fpn")
    return PointDetector(len(classes), image_size, model)
