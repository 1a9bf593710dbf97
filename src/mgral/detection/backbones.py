"""Backbones that are no part of a detector: timm's and torchvision's models, with local weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from mgral.config.embedding import RANDOM, Backbone
from mgral.core import random_streams
from mgral.core.errors import MgralError, nearest
from mgral.detection.base import load_fitting, read_weights

log = logging.getLogger(__name__)

TORCHVISION = "torchvision/"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of its pixels
DEPTH = 2  # how deep in a torchvision model its parts are looked for


class Maps(nn.Module):
    """Images [B, 3, S, S] in 0..1 to feature maps [B, C_l, H_l, W_l], finest first."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, mean: Sequence[float], std: Sequence[float], channels_last: bool) -> None:
        """Take what gives the maps of normalised images, and whether it gives [B, H_l, W_l, C_l]."""
        super().__init__()
        self.trunk, self._channels_last = trunk, channels_last
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps of a batch."""
        maps = list(self.trunk((images - self.mean) / self.std))
        return [one.permute(0, 3, 1, 2) for one in maps] if self._channels_last else maps


class LastOfEachSize(nn.Module):
    """What the parts of a torchvision classifier put out on the way: of each size of map the last one."""

    def __init__(self, model: nn.Module) -> None:
        """Take the classifier."""
        super().__init__()
        self.model = model
        self._seen: dict[int, Tensor] = {}
        for name, part in model.named_modules():
            if 0 < len(name.split(".")) <= DEPTH and name:
                part.register_forward_hook(self._keep)

    def _keep(self, _part: nn.Module, _given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] == out.shape[3] > 1:
            self._seen[out.shape[3]] = out

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps, finest first."""
        self._seen = {}
        self.model(images)
        found, self._seen = self._seen, {}
        return [found[size] for size in sorted(found, reverse=True)]


def build(params: Backbone, size: int, where: str) -> Maps:
    """A backbone in evaluation mode, with the weights of its file.

    Args:
        params: which model, how it is built, and its weights.
        size: side of the images, pixels.
        where: key of the parameters, for messages.

    Raises:
        MgralError: unknown model, options that do not build it, weights that are missing or do not fit, or no maps.
    """
    name = params.backbone
    if params.weights is None:
        raise MgralError(f"{where}.weights: missing; give a local weights file of {name}, or random")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_streams.stream("embedding backbone"))
        network = _torchvision(params, where) if name.startswith(TORCHVISION) else _timm(params, where)
    if params.weights == RANDOM:
        log.warning("%s: %s has random weights; they tell images apart much worse than trained ones", where, name)
    else:
        model = getattr(network.trunk, "model", network.trunk)  # as weight files know it
        load_fitting(model, _renamed(read_weights(params.weights), model), params.weights, name)
    network.eval()
    try:
        with torch.inference_mode():
            maps = network(torch.zeros(1, 3, size, size))
    except Exception as error:  # whatever a model raises at a size that it is not made for
        raise MgralError(f"{where}.backbone: {name} takes no images of {size} pixels ({_line(error)})") from None
    if not maps or any(one.ndim != 4 for one in maps):
        raise MgralError(f"{where}.backbone: {name} gives no feature maps; choose another, e.g. resnet18")
    return network


def _timm(params: Backbone, where: str) -> Maps:
    name, options = params.backbone, dict(params.options)
    if not timm.is_model(name):
        others = timm.list_models(name[:4] + "*") or ["resnet18"]
        raise MgralError(f"{where}.backbone: timm has no model '{name}'; {nearest(name, others)}")
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options.setdefault("dynamic_img_size", True)  # transformers: of any size, by interpolated positions
    try:
        trunk: Any = timm.create_model(name, features_only=True, pretrained=False, **options)
    except Exception as error:  # what its constructor raises depends on the model
        raise MgralError(f"{where}: timm does not build {name} with these options ({_line(error)})") from None
    mean, std = (config.mean, config.std) if config is not None else IMAGENET
    return Maps(trunk, mean, std, str(getattr(trunk, "output_fmt", "NCHW")).endswith("NHWC"))


def _torchvision(params: Backbone, where: str) -> Maps:
    name = params.backbone.removeprefix(TORCHVISION)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise MgralError(f"{where}.backbone: torchvision has no model '{name}'; {nearest(name, known)}")
    try:
        model = torchvision.models.get_model(name, weights=None, **params.options)
    except Exception as error:  # what its constructor raises depends on the model
        raise MgralError(f"{where}: torchvision does not build {name} with these options ({_line(error)})") from None
    return Maps(LastOfEachSize(model), *IMAGENET, channels_last=False)


def _renamed(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors by the model's own names; timm writes ``stages_0`` for ``stages.0`` where it gives feature maps."""
    own = {name.replace(".", "_"): name for name in model.state_dict()}
    return {own.get(name.replace(".", "_"), name): value for name, value in state.items()}


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
