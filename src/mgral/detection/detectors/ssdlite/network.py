"""The parts of SSDlite: torchvision's network, its backbone and its head, and weights of them."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor

from mgral.detection.base import load_fitting, read_weights
from mgral.detection.detectors._weight_names import in_ssdlite, without_parallel

NORM = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)  # torchvision's
STAGES = 6  # of MobileNetV3; all are trained
head = partial(SSDLiteHead, norm_layer=NORM)


def network(num_classes: int, reduced_tail: bool) -> SSD:
    """torchvision's SSDlite with initial weights; with a full tail its backbone is the one that ImageNet trains."""
    model: SSD = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=num_classes + 1)
    if not reduced_tail:
        whole = mobilenet_v3_large(weights=None, norm_layer=NORM, reduced_tail=False)
        model.backbone = _mobilenet_extractor(whole, STAGES, NORM)
        channels = retrieve_out_channels(model.backbone, (320, 320))
        model.head = head(channels, model.anchor_generator.num_anchors_per_location(), num_classes + 1)
    return model


def load_weights(model: SSD, path: str) -> None:
    """Load weights of the whole detector, or of MobileNetV3 into its backbone.

    Raises:
        MgralError: missing, damaged, or of another model.
    """
    state = without_parallel(read_weights(path))
    features = model.backbone.get_submodule("features")
    if {"conv_stem.weight", "features.0.0.weight"} & state.keys():
        load_fitting(features, in_ssdlite(state, features), path, "the backbone mobilenet_v3_large")
    else:
        if "features.0.0.0.weight" in state:  # of the detector's backbone alone
            state = {f"backbone.{name}": value for name, value in state.items()}
        parts = "backbone.features.", "backbone.extra.", "head."
        load_fitting(model, state, path, "torchvision's ssdlite320_mobilenet_v3_large", parts)


class Backbone(nn.Module):
    """MobileNetV3 and the layers after it; six maps at strides 16, 32 and so on."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, S, S] in 0..1 to maps, finest first."""
        return list(self.extractor((images - 0.5) * 2).values())
