"""ssd300: SSD300 with VGG16 (Liu et al. 2016), torchvision's backbone and priors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.types import Activation

if TYPE_CHECKING:
    from mgral.detection.detectors._ssd import SSD

LAST_BLOCK = 23  # position of the pooling layer before VGG16's fifth block among its features


class Options(Settings):
    """Options of ssd300."""

    weights: str | None = Field(
        None,
        description="local .safetensors or .pth of torchvision's vgg16 (IMAGENET1K_FEATURES, as in the papers), of its "
        "ssd300_vgg16 or of that one's backbone; none: from scratch",
    )


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> SSD:
    """SSD300.

    Raises:
        MgralError: image_size is not 300, or weights that do not fit.
    """
    if image_size != 300:
        raise MgralError(f"image_size: ssd300 takes 300 pixels, not {image_size}; set image_size: 300")
    from torchvision.models.detection import ssd300_vgg16

    from mgral.detection.base import load_fitting, read_weights
    from mgral.detection.detectors._ssd import SSD
    from mgral.detection.detectors.ssd300.network import Backbone

    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=len(classes) + 1)
    if options.weights is not None:
        state = read_weights(options.weights)
        backbone = {_in_ssd(name.removeprefix("backbone.")): value for name, value in state.items()}
        load_fitting(model.backbone, backbone, options.weights, "torchvision's ssd300_vgg16")
    return SSD(len(classes), image_size, Backbone(model.backbone), model.anchor_generator)


def _in_ssd(name: str) -> str:
    """The name that a tensor of torchvision's vgg16 has in its SSD: the last block belongs to the second map there."""
    layer = re.fullmatch(r"features\.(\d+)\.(weight|bias)", name)
    if layer is None or int(layer[1]) < LAST_BLOCK:
        return name
    return f"extra.0.{int(layer[1]) - LAST_BLOCK}.{layer[2]}"
