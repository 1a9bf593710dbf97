"""The names that tensors have in files of torchvision, timm and mmdet, as those of torchvision's detectors here."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping

from torch import Tensor, nn

Name = str | Callable[[re.Match[str]], str]

# torchvision's published files of detectors are older than its present names; its modules rename them as they load.
_EARLIER: list[tuple[str, Name]] = [
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(\w+)", r"\1.0.\2"),
    (r"rpn\.head\.conv\.(\w+)", r"rpn.head.conv.0.0.\1"),
    (r"(head\.\w+_head\.conv)\.(\d+)\.(\w+)", lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}"),  # each has a ReLU
]
# Of mmdet's heads only what does not depend on the classes, on their order, or on how boxes are coded.
_MMDET: list[tuple[str, Name]] = [
    (r"backbone\.((?:conv1|bn1|layer\d).*)", r"backbone.body.\1"),
    (r"neck\.lateral_convs\.(\d+)\.conv\.(\w+)", r"backbone.fpn.inner_blocks.\1.0.\2"),
    (r"neck\.fpn_convs\.([0-3])\.conv\.(\w+)", r"backbone.fpn.layer_blocks.\1.0.\2"),
    (r"rpn_head\.rpn_conv\.(\w+)", r"rpn.head.conv.0.0.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.0\.(\w+)", r"roi_heads.box_head.fc6.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.1\.(\w+)", r"roi_heads.box_head.fc7.\1"),
]
_TOWER = re.compile(r"bbox_head\.(cls|reg)_convs\.(\d+)\.(conv|gn)\.(\w+)")
_PARALLEL = "module."  # before each name in files of torch's DataParallel


def in_torchvision(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file by the names of a detector of torchvision over a ResNet with FPN.

    Known are files of the detector, today's and earlier ones; of its backbone with FPN; of the ResNet alone, from
    torchvision, timm or mmdet; and of mmdet's detector of that kind. What is not known keeps its name.
    """
    state = without_parallel(state)
    own = model.state_dict().keys()
    if "conv1.weight" in state:
        return {f"backbone.body.{name}": value for name, value in state.items()}
    if "body.conv1.weight" in state:
        state = {f"backbone.{name}": value for name, value in state.items()}
    if "backbone.conv1.weight" in state:
        return {_of_mmdet(name, own): value for name, value in state.items()}
    return {name if name in own else _substituted(name, _EARLIER): value for name, value in state.items()}


def without_parallel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what torch's DataParallel writes before their names."""
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return dict(state)


def in_ssdlite(state: Mapping[str, Tensor], features: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file of MobileNetV3-Large, of torchvision or timm, by the names of SSDlite's ``features``.

    All three have the same layers in the same order, so names are matched by their place in it. What is not known
    keeps its name.
    """
    import timm
    import torch
    from torchvision.models import mobilenet_v3_large

    with torch.device("meta"):
        one, other = mobilenet_v3_large(), timm.create_model("mobilenetv3_large_100", pretrained=False)
    state = without_parallel(state)
    reference = other if "conv_stem.weight" in state else one
    named = dict(zip(reference.state_dict(), features.state_dict(), strict=False))  # the classifiers come last
    return {named.get(name, name): value for name, value in state.items()}


def _of_mmdet(name: str, own: Container[str]) -> str:
    """mmdet's name of a tensor as torchvision's; the towers of RetinaNet and FCOS lie differently in the two."""
    tower = _TOWER.fullmatch(name)
    if tower is None:
        return _substituted(name, _MMDET)
    head = {"cls": "head.classification_head.conv", "reg": "head.regression_head.conv"}[tower[1]]
    layer, inner = int(tower[2]), {"conv": 0, "gn": 1}[tower[3]]
    nested = f"{head}.{layer}.{inner}.{tower[4]}"
    return nested if nested in own else f"{head}.{3 * layer + inner}.{tower[4]}"  # convolution, norm and ReLU each


def _substituted(name: str, rules: list[tuple[str, Name]]) -> str:
    for pattern, new in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return new(found) if callable(new) else found.expand(new)
    return name
