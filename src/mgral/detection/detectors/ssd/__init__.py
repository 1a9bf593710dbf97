"""ssd: an SSD on any timm backbone, with local weights, frozen or fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mgral.core.errors import MgralError, nearest
from mgral.core.types import Activation
from mgral.detection.detectors._four_maps import FourMaps

if TYPE_CHECKING:
    from mgral.detection.detectors._ssd import SSD

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


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> SSD:
    """An SSD over four maps of one width; priors of aspect 1, 2 and (in the middle) 3."""
    from mgral.detection.detectors._ssd import SSD
    from mgral.detection.detectors.ssd.network import Backbone

    backbone = Backbone(_backbone(options), options.width, options.freeze, options.mean, options.std)
    return SSD(len(classes), image_size, backbone, options.priors())


def _backbone(options: Options) -> Any:
    """The model of timm that gives feature maps, with its weights."""
    import timm

    from mgral.detection.base import load_fitting, read_weights

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
