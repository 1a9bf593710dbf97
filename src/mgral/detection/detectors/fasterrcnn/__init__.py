"""fasterrcnn: Faster R-CNN with a ResNet and FPN (Ren et al. 2015, Lin et al. 2017); torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mgral.core.types import Activation
from mgral.detection.detectors._over_resnet import OverResNet

if TYPE_CHECKING:
    from mgral.detection.detectors.fasterrcnn.network import TwoStage

PRIORS = False  # the anchors are those of proposals, which have no class


class Options(OverResNet):
    """Options of fasterrcnn."""

    anchors: Annotated[list[float], Field(min_length=5, max_length=5)] = Field(
        [32, 64, 128, 256, 512],
        description="side of the anchors at strides 4, 8, 16, 32 and 64, in pixels; smaller for small images",
    )
    proposals: int = Field(
        1000, ge=1, description="kept of an image, twice as many in training; fewer are quicker on a processor"
    )
    regions: int = Field(512, ge=2, description="proposals of an image that the second stage learns from")


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> TwoStage:
    """Faster R-CNN over a ResNet.

    Raises:
        MgralError: weights that do not fit.
    """
    from torch import nn
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    from mgral.detection.detectors._torchvision import load_weights
    from mgral.detection.detectors.fasterrcnn.network import TwoStage

    backbone = resnet_fpn_backbone(
        backbone_name=options.backbone, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
    )
    model = FasterRCNN(
        backbone,
        len(classes) + 1,
        rpn_anchor_generator=AnchorGenerator([(side,) for side in options.anchors], ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_train=2 * options.proposals,
        rpn_post_nms_top_n_train=2 * options.proposals,
        rpn_pre_nms_top_n_test=options.proposals,
        rpn_post_nms_top_n_test=options.proposals,
        box_batch_size_per_image=options.regions,
    )
    load_weights(model, options.weights, options.backbone, "fasterrcnn_resnet50_fpn")
    return TwoStage(len(classes), image_size, model)
