"""What torchvision's detectors share: weights files, normalisation, sizes that are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from mgral.core.errors import MgralError
from mgral.detection.base import load_fitting, read_weights
from mgral.detection.detectors._weight_names import in_torchvision

BODY = "backbone.body."
HEADS = "rpn.", "roi_heads.", "head."


class Normalise(nn.Module):
    """Images in 0..1 by the mean and standard deviation of ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S]."""
        return (images - self.mean) / self.std


def check_maps(maps: Sequence[Tensor], image_size: int, name: str) -> None:
    """Refuse a size at which two maps have one cell: the second sees no more than the first.

    Besides, torch 2.15 in bfloat16 on a CPU gets the gradient of the convolution between such maps wrong.

    Raises:
        MgralError: there are two.
    """
    if sum(features[0, 0].numel() == 1 for features in maps) > 1:
        raise MgralError(
            f"image_size: at {image_size} pixels {name}'s coarsest maps shrink to one cell; set a larger one"
        )


def anchors_of(generator: AnchorGenerator, maps: list[Tensor], image_size: int) -> Tensor:
    """[A, 4] the anchors of one image, xyxy in pixels of the input, by map, row, column and anchor of a cell."""
    image = ImageList(torch.zeros(1, 3, image_size, image_size), [(image_size, image_size)])
    anchors: Tensor = generator(image, maps)[0]
    return anchors


def load_weights(model: nn.Module, path: str | None, backbone: str, name: str) -> None:
    """Load weights of the ResNet or of the whole detector; None: leave the model as it is.

    Args:
        model: torchvision's, over a ResNet with FPN.
        path: a file of torchvision, timm or mmdet, see :func:`in_torchvision`.
        backbone: torchvision's name of the ResNet.
        name: torchvision's name of the detector.

    Raises:
        MgralError: missing, damaged, or of another model.
    """
    if path is None:
        return
    state = in_torchvision(read_weights(path), model)
    own = model.state_dict()
    _check_depth(own, state, path, backbone)
    if all(key.startswith(BODY) or key not in own for key in state):
        body = {key.removeprefix(BODY): value for key, value in state.items()}
        load_fitting(model.get_submodule(BODY[:-1]), body, path, f"torchvision's {backbone}")
    else:
        load_fitting(model, state, path, f"torchvision's {name}", (BODY, "backbone.fpn.", *HEADS))


def _check_depth(own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str, backbone: str) -> None:
    """Refuse another ResNet: of another depth most batch norms fit by name and shape, and mean nothing there."""
    for name, value in state.items():
        block = name.startswith(f"{BODY}layer")
        if block and (name not in own or own[name].shape != value.shape):
            raise MgralError(
                f"{path}: {name.removeprefix(BODY)} is not as in torchvision's {backbone}; give weights of that model, "
                "or set the backbone that the file is of"
            )
