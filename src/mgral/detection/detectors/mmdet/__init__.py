"""mmdet: one-stage anchor-based detectors built by mmdet from its configs; runs in an environment of its own.

Network, priors, matching and losses are mmdet's. :mod:`.mmdet.network` turns their layout into that of
:class:`mgral.detection.base.RawOutput` and back, so that training, prediction and proxies are those of any detector.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mgral.config.base import Settings
from mgral.core.errors import MgralError, nearest
from mgral.core.types import Activation

if TYPE_CHECKING:
    from torch import nn

    from mgral.detection.detectors.mmdet.network import MMDetector

OWN = {"ssd300": "ssd/ssd300_coco.py", "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py"}
SAYS: dict[str, Activation] = {"ssd300": "softmax", "retinanet": "sigmoid"}


class Options(Settings):
    """Options of mmdet."""

    config: str = Field(
        "ssd300",
        description="ssd300, retinanet, or an mmdet config: a path, or its place among those that mmdet brings; "
        "a config is Python code and runs when it is read, so take none from strangers",
    )
    cfg_options: dict[str, Any] = Field(
        {}, description="changes merged into the config, nested as it is or with dotted keys"
    )
    weights: str | None = Field(
        None, description="local .safetensors or .pth of the whole model or of its backbone; none: from scratch"
    )


def activation(options: Options) -> Activation | None:
    """That of our own configs as they are; of others mmdet has to read the config, and it may not be here."""
    return None if options.cfg_options else SAYS.get(options.config)


def build(classes: Sequence[str], image_size: int, options: Options) -> MMDetector:
    """A detector of mmdet. Nothing is downloaded: pretrained weights that a config names are passed over.

    Without weights, layers that the config freezes are trained, as nothing has been learnt that could be kept.

    Raises:
        MgralError: mmdet is missing; a config that is missing, faulty or of another family; an image size that
            does not fit it; weights that do not fit.
    """
    from mgral.detection.detectors.mmdet.network import MMDetector

    path = _find(options.config)
    config = _read(path, options.cfg_options)
    preprocessor = config.pop("data_preprocessor", None) or {}
    divisor = preprocessor.get("pad_size_divisor", 1)
    if image_size % divisor:
        raise MgralError(f"image_size: {path.name} takes multiples of {divisor} pixels, not {image_size}; set one")
    config.bbox_head.num_classes = len(classes)
    if options.weights is None:
        scratch = {"frozen_stages": -1, "norm_eval": False}
        config.backbone.update({key: value for key, value in scratch.items() if key in config.backbone})
    model = _construct(config, path)
    if options.weights is not None:
        _load(model, options.weights)
    mean, std = preprocessor.get("mean", [0.0] * 3), preprocessor.get("std", [1.0] * 3)
    # mmdet reads images as BGR; a preprocessor that swaps their channels makes them RGB, as ours are
    swap = not (preprocessor.get("bgr_to_rgb") or preprocessor.get("rgb_to_bgr"))
    return MMDetector(len(classes), image_size, model, mean, std, swap)


def _find(name: str) -> Path:
    """The file of a config: one of ours, a path, or its place among mmdet's own."""
    spec = importlib.util.find_spec("mmdet")
    if spec is None or not spec.submodule_search_locations:
        raise MgralError(
            "detector.name: mmdet is not in this environment; build its own with `make env-mmdet` and use its mgral"
        )
    brought = Path(spec.submodule_search_locations[0], ".mim", "configs", OWN.get(name, name))
    if name not in OWN and Path(name).is_file():
        return Path(name)
    if not brought.is_file():
        raise MgralError(f"detector.options.config: no file '{name}', here or among mmdet's; {nearest(name, OWN)}")
    return brought


def _read(path: Path, changes: dict[str, Any]) -> Any:
    """The model's part of a config, its preprocessor included, without weights to download.

    Returns:
        mmengine's ``ConfigDict``.
    """
    from mmengine.config import Config  # type: ignore[import-not-found]

    try:
        config = Config.fromfile(path)
        config.merge_from_dict(copy.deepcopy(changes))  # mmengine takes `_delete_` out of what it merges
    except Exception as error:  # a config is code: anything may come out of it
        raise MgralError(
            f"{path}: cannot be read as an mmdet config with detector.options.cfg_options "
            f"({type(error).__name__}: {error}); correct it"
        ) from error
    model = config.get("model", {})
    if not isinstance(model.get("bbox_head"), Mapping) or "roi_head" in model or "backbone" not in model:
        raise MgralError(f"{path}: no one-stage detector (a model with backbone and bbox_head); choose another config")
    if "data_preprocessor" in config:
        model.setdefault("data_preprocessor", config.data_preprocessor)
    return _local(model)


def _local(config: Any) -> Any:
    """A part of a config without what names pretrained weights."""
    if isinstance(config, dict):
        kept = {key: _local(value) for key, value in config.items() if key != "pretrained" and not _pretrained(value)}
        return type(config)(kept)
    if isinstance(config, list | tuple):
        return type(config)(_local(value) for value in config if not _pretrained(value))
    return config


def _pretrained(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "Pretrained"


def _construct(config: Any, path: Path) -> Any:
    """The network with initial weights from torch's generator."""
    from mmdet.registry import MODELS  # type: ignore[import-not-found]
    from mmengine.logging import MMLogger  # type: ignore[import-not-found]

    MMLogger.get_current_instance().setLevel("WARNING")  # else a line per tensor, on standard output

    try:
        model = MODELS.build(config)
    except Exception as error:  # of whatever kind the class that refuses its arguments raises
        raise MgralError(f"{path}: mmdet cannot build it ({type(error).__name__}: {error}); correct it") from error
    model.init_weights()
    return model


def _load(model: nn.Module, path: str) -> None:
    """Initial weights: what fits by name and shape, of the whole model or of its backbone. What fitted is logged."""
    from mgral.detection.base import load_reported, read_weights

    state = read_weights(path)
    wanted = model.state_dict()
    named = {name if name in wanted else f"backbone.{name}": value for name, value in state.items()}
    fits = {n: value for n, value in named.items() if n in wanted and wanted[n].shape == value.shape}
    backbone = [name for name in wanted if name.startswith("backbone.")]
    fitting = sum(name in fits for name in backbone)
    if fitting < len(backbone) / 2:
        raise MgralError(
            f"{path}: fits {fitting} of {len(backbone)} tensors of the config's backbone; give weights of this config"
        )
    load_reported(model, named, path, "mmdet's model", [f"{name}." for name, _ in model.named_children()])
