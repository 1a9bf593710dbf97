"""A detector of mmdet behind the contract of :mod:`mgral.detection.base`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder

from mgral.core.errors import MgralError
from mgral.detection.base import Target
from mgral.detection.priors import PriorDetector, PriorOutput


class MMDetector(PriorDetector):
    """A one-stage anchor-based detector of mmdet.

    Boxes decode as in mmdet with one exception: mmdet also bounds how far a box may shrink against its prior (to
    16/1000 of the side), the contract's coder bounds only the growth (1000/16), which mmdet does too.

    Args:
        model: mmdet's ``SingleStageDetector``.
        mean: of each channel in 0..255, in the order the network takes.
        std: likewise.
        swap: whether the network takes BGR.

    Raises:
        MgralError: the image size or the head is not one this module can drive.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, num_classes: int, image_size: int, model: Any, mean: Sequence[float], std: Sequence[float], swap: bool
    ) -> None:
        head = model.bbox_head
        wanted = getattr(getattr(head, "prior_generator", None), "input_size", image_size)
        if wanted != image_size:
            raise MgralError(
                f"image_size: the config is for {wanted} pixels, not {image_size}; set image_size: {wanted}"
            )
        with torch.no_grad():
            maps = model.eval().extract_feat(torch.zeros(1, 3, image_size, image_size))
            outputs = head(maps)
        _check_head(head, outputs, num_classes)
        anchors = head.prior_generator.num_base_priors
        sizes = [(scores.shape[2], scores.shape[3]) for scores in outputs[0]]
        priors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))
        _check_grid(head.prior_generator, sizes, priors, image_size)
        weights = tuple(1 / std for std in head.bbox_coder.stds)
        super().__init__(num_classes, image_size, priors, maps, anchors, BoxCoder(weights))
        self.activation = "sigmoid" if head.use_sigmoid_cls else "softmax"
        self.model = model.train()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._swap = swap
        self._levels = [(height, width, count) for (height, width), count in zip(sizes, anchors, strict=True)]

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """The head of mmdet's own model."""
        head: nn.Module = self.model.bbox_head
        return head

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images [B, 3, size, size] in [0, 1], one [B, C, H, W] a level."""
        images = images.flip(1) if self._swap else images
        return list(self.model.extract_feat((images * 255 - self.mean) / self.std))

    def answer(self, maps: list[Tensor]) -> PriorOutput:
        """Class logits [B, P, n] and box offsets [B, P, 4] of all priors."""
        scores, offsets = self.head(maps)
        return PriorOutput(_logits(self.head, scores), _by_prior(offsets, 4), maps)

    def classifier(self) -> nn.Module:
        """mmdet's head is one module, so the layers that locate boxes come along, unused."""
        return _Classifier(self.head)

    def losses(self, raw: PriorOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The head's own losses with the config's matching and weights.

        mmdet's SSD takes negatives in proportion to the positives of the same image, so an image without a box
        teaches it nothing.

        Raises:
            MgralError: a head whose losses are not one of classes and one of boxes.
        """
        from mmengine.structures import InstanceData  # type: ignore[import-not-found]

        logits = raw.logits.float()
        if self.activation == "softmax":
            logits = logits.roll(-1, -1)
        head = self.model.bbox_head
        truth = [InstanceData(bboxes=target.xyxy, labels=target.labels) for target in targets]
        square = (self.image_size, self.image_size)
        meta = [{"img_shape": square, "pad_shape": square} for _ in targets]
        parts = head.loss_by_feat(self._by_map(logits), self._by_map(raw.offsets.float()), truth, meta)
        if set(parts) != {"loss_cls", "loss_bbox"}:
            raise MgralError(
                f"detector.options.config: the losses of {type(head).__name__} are {', '.join(parts)}, "
                "not loss_cls and loss_bbox; choose another config"
            )
        return {"classification": _total(parts["loss_cls"]), "localisation": _total(parts["loss_bbox"])}

    def _by_map(self, values: Tensor) -> list[Tensor]:
        """[B, P, n] to mmdet's maps, each [B, A·n, H, W]; undoes :func:`_by_prior`."""
        per_level = values.split([height * width * count for height, width, count in self._levels], 1)
        return [
            level.reshape(len(values), height, width, -1).permute(0, 3, 1, 2)
            for level, (height, width, _) in zip(per_level, self._levels, strict=True)
        ]


class _Classifier(nn.Module):
    """The classes' part of a head of mmdet."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: list[Tensor]) -> Tensor:
        return _logits(self.head, self.head(features)[0])


def _check_head(head: Any, outputs: Any, num_classes: int) -> None:
    """Refuse heads that say anything but one score per class and four offsets per prior."""
    from mmdet.models.dense_heads.anchor_head import AnchorHead  # type: ignore[import-not-found]
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder  # type: ignore[import-not-found]

    name = type(head).__name__
    coder: Any = getattr(head, "bbox_coder", None)
    plain = type(coder) is DeltaXYWHBBoxCoder and not any(coder.means) and not coder.add_ctr_clamp
    if not isinstance(head, AnchorHead) or not plain or len(outputs) != 2:
        raise MgralError(
            f"detector.options.config: {name} is no anchor head with class scores and DeltaXYWHBBoxCoder (means 0) "
            "alone; choose another config"
        )
    channels = num_classes + (not head.use_sigmoid_cls)
    for scores, offsets, count in zip(*outputs, head.prior_generator.num_base_priors, strict=True):
        if scores.shape[1] != count * channels or offsets.shape[1] != count * 4:
            raise MgralError(
                f"detector.options.config: {name} gives {scores.shape[1]} scores and {offsets.shape[1]} offsets for "
                f"{count} priors a cell, not {count * channels} and {count * 4}; choose another config"
            )


def _check_grid(generator: Any, sizes: Sequence[tuple[int, int]], priors: Tensor, image_size: int) -> None:
    """Refuse an input size that the priors are not made for: they must cover the image and lie in it.

    Of SSD300 with its strides of 8 to 300 pixels the outermost centres lie at 304, hence the finest stride's grace.
    Two maps of one cell are refused since the second sees no more than the first; besides, torch 2.1 in bfloat16 on
    a CPU gets the gradient between such maps wrong (not a number).
    """
    covered = all(
        size == (math.ceil(image_size / stride[1]), math.ceil(image_size / stride[0]))
        for size, stride in zip(sizes, generator.strides, strict=True)
    )
    centres = (priors[:, :2] + priors[:, 2:]) / 2
    if not covered or centres.max() > image_size + min(generator.strides[0]):
        raise MgralError(
            f"image_size: the config's priors are for another size than {image_size}; set it to the config's"
        )
    if sizes.count((1, 1)) > 1:
        raise MgralError(f"image_size: at {image_size} pixels the coarsest maps shrink to one cell; set a larger one")


def _by_prior(maps: Sequence[Tensor], width: int) -> Tensor:
    """mmdet's maps, each [B, A·width, H, W], to [B, P, width]; priors by level, row, column and anchor."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(len(level), -1, width) for level in maps], 1)


def _logits(head: Any, scores: Sequence[Tensor]) -> Tensor:
    """mmdet's maps of scores to logits of :class:`~mgral.detection.priors.PriorOutput`.

    mmdet has the background last.
    """
    logits = _by_prior(scores, head.cls_out_channels)
    return logits if head.use_sigmoid_cls else logits.roll(1, -1)


def _total(losses: Tensor | Sequence[Tensor]) -> Tensor:
    """The sum over maps or images, as mmdet itself adds them up."""
    parts = [losses] if isinstance(losses, Tensor) else losses
    return torch.stack([part.mean() for part in parts]).sum()
