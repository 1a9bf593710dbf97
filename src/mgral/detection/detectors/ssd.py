"""ssd: an SSD on any timm backbone, with local weights, frozen or fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

import timm
import torch
from pydantic import Field
from torch import Tensor, nn

from mgral.core.errors import MgralError, nearest
from mgral.core.types import Activation
from mgral.detection.base import load_fitting, read_weights
from mgral.detection.detectors._ssd import SSD, FourMaps, conv_bn

_Triple = Annotated[list[float], Field(min_length=3, max_length=3)]


class Options(FourMaps):
    """Options of ssd."""

    backbone: str = Field("mobilenetv1_100", description="name of a timm model that can give feature maps")
    weights: str | None = Field(None, description="local .safetensors or .pth of the backbone; none: from scratch")
    freeze: bool = Field(True, description="keep the backbone as loaded, its batch statistics included")
    pad_type: str | None = Field(None, description="timm's padding; 'same' for weights that come from TensorFlow")
    bn_eps: float | None = Field(None, gt=0, description="epsilon of the backbone's batch normalisation")
    mean: _Triple = Field([0.485, 0.456, 0.406], description="of the input's channels, 0..1; ImageNet's")
    std: _Triple = Field([0.229, 0.224, 0.225], description="of the input's channels, 0..1; ImageNet's")
    width: int = Field(128, ge=8, description="channels of each map the head looks at")


class _Backbone(nn.Module):
    """The backbone's maps at strides 8 and 16, two more made from the last, all brought to one width."""

    mean: Tensor
    std: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__()
        backbone = _backbone(options)
        strides: list[int] = backbone.feature_info.reduction()
        channels: list[int] = backbone.feature_info.channels()
        self.backbone = backbone
        self._pick = [strides.index(8), strides.index(16)]
        self.freeze = options.freeze
        width = options.width
        self.laterals = nn.ModuleList(conv_bn(channels[i], width, kernel=1) for i in self._pick)
        self.smooth = nn.ModuleList(conv_bn(width, width) for _ in self._pick)
        self.extra = nn.ModuleList([conv_bn(width, width, 2), conv_bn(width, width, 2)])
        self.register_buffer("mean", torch.tensor(options.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(options.std).view(1, 3, 1, 1), persistent=False)
        self.backbone.requires_grad_(not self.freeze)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            maps = self.backbone((images - self.mean) / self.std)
        picked = [maps[i] for i in self._pick]
        out = [smooth(lateral(m)) for m, lateral, smooth in zip(picked, self.laterals, self.smooth, strict=True)]
        for layer in self.extra:
            out.append(layer(out[-1]))
        return out


def _backbone(options: Options) -> Any:
    more: dict[str, Any] = {}
    if options.pad_type is not None:
        more["pad_type"] = options.pad_type
    if options.bn_eps is not None:
        more["bn_eps"] = options.bn_eps
    if not timm.is_model(options.backbone):
        raise MgralError(
            f"detector.options.backbone: timm has no model '{options.backbone}'; "
            f"{nearest(options.backbone, timm.list_models(options.backbone[:4] + '*') or ['resnet18'])}"
        )
    try:
        backbone: Any = timm.create_model(options.backbone, features_only=True, pretrained=False, **more)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise MgralError(
            f"detector.options.backbone: '{options.backbone}' gives no feature maps ({error}); choose a CNN"
        ) from None
    if not {8, 16} <= set(backbone.feature_info.reduction()):
        raise MgralError(
            f"detector.options.backbone: '{options.backbone}' has no maps at strides 8 and 16; choose a CNN"
        )
    if options.weights is not None:
        load_fitting(backbone, read_weights(options.weights), options.weights, f"the backbone {options.backbone}")
    return backbone


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> SSD:
    """An SSD over four maps of one width; priors of aspect 1, 2 and (in the middle) 3."""
    return SSD(len(classes), image_size, _Backbone(options), options.priors())
