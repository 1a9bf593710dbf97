"""Detectors with priors: one-stage and anchor-based, each output belongs to a fixed box of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import clip_boxes_to_image

from mgral.core.errors import MgralError
from mgral.detection.base import Detector, Prediction, RawOutput, Target


@dataclass(frozen=True)
class PriorOutput(RawOutput):
    """What a detector with priors says of a batch.

    Attributes:
        logits: [B, P, K] for P priors. ``softmax``: K = C + 1, background first. ``sigmoid``: K = C.
        offsets: [B, P, 4] box offsets (dx, dy, dw, dh) relative to the priors, in the coder's weights.
        features: see :class:`mgral.detection.base.RawOutput`.
    """

    logits: Tensor
    offsets: Tensor
    features: list[Tensor]


class PriorDetector(Detector):
    """The part that detectors with priors share.

    A subclass implements :meth:`maps`, :meth:`answer`, :meth:`losses` and :meth:`classifier`, and has a ``head``.

    Attributes:
        priors: [P, 4] xyxy, pixels of the input.
        mirror: [P] index of the prior that a horizontal flip turns each prior into.
        level_sizes: number of priors of each map, finest first; they sum to P.
    """

    priors: Tensor
    mirror: Tensor

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        priors: Tensor,
        maps: Sequence[Tensor],
        anchors: Sequence[int],
        coder: BoxCoder,
    ) -> None:
        """Take the priors [P, 4] and their layout: the maps of one image and the anchors per cell of each map."""
        super().__init__(num_classes, image_size, maps)
        self.coder = coder
        self.register_buffer("priors", priors, persistent=False)
        self.register_buffer("mirror", _mirror(maps, anchors), persistent=False)
        self.level_sizes = [m.shape[2] * m.shape[3] * count for m, count in zip(maps, anchors, strict=True)]

    def answer(self, maps: list[Tensor]) -> PriorOutput:
        """The maps to raw outputs."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> PriorOutput:
        """Images [B, 3, size, size], RGB in 0..1, to raw outputs."""
        return self.answer(self.maps(images))

    def losses(self, raw: PriorOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """``classification`` and ``localisation``, scalars."""
        raise NotImplementedError

    def classifier(self) -> nn.Module:
        """The part that turns the maps of :class:`PriorOutput` into its logits, with this detector's weights."""
        raise NotImplementedError

    def decode(self, offsets: Tensor, priors: Tensor | None = None) -> Tensor:
        """[n, 4] offsets from as many priors (all: None) to boxes, xyxy in pixels of the input, clipped to it."""
        boxes = self.coder.decode_single(offsets.float(), self.priors if priors is None else priors)
        clipped: Tensor = clip_boxes_to_image(boxes, (self.image_size, self.image_size))
        return clipped

    def predict(
        self, raw: PriorOutput, score_threshold: float, nms_iou: float, max_detections: int, features: bool = False
    ) -> list[Prediction]:
        """See :meth:`mgral.detection.base.Detector.predict`."""

        def one(probs: Tensor, offsets: Tensor, finest: Tensor | None) -> Prediction:
            def boxes(priors: Tensor, _labels: Tensor) -> Tensor:
                return self.decode(offsets[priors], self.priors[priors])

            return self.suppress(probs, boxes, finest, score_threshold, nms_iou, max_detections)

        return list(map(one, self.probabilities(raw.logits), raw.offsets, raw.finest(features)))


def with_priors(detector: Detector) -> PriorDetector:
    """The same detector, for what needs its priors. Raises MgralError if it has none."""
    if not isinstance(detector, PriorDetector):
        raise MgralError("detector.name: this step needs a detector with priors; choose one, or leave the step out")
    return detector


def of_priors(raw: RawOutput) -> PriorOutput:
    """The same outputs, for what needs those of priors. Raises MgralError if the detector has none."""
    if not isinstance(raw, PriorOutput):
        raise MgralError("detector.name: this step needs a detector with priors; choose one, or leave the step out")
    return raw


def overlaps(boxes: Tensor, priors: Tensor) -> Tensor:
    """[n, P] intersection over union of boxes [n, 4] and priors [P, 4], all with area, xyxy.

    The values are those of torchvision's ``box_iou``, coordinate by coordinate, which takes a quarter of its time.
    """
    left, top, right, bottom = boxes[:, :, None].unbind(1)  # [n, 1] each
    x1, y1, x2, y2 = priors.T.contiguous()  # [P] each
    width = (torch.minimum(right, x2) - torch.maximum(left, x1)).clamp_(min=0)
    height = (torch.minimum(bottom, y2) - torch.maximum(top, y1)).clamp_(min=0)
    shared = width.mul_(height)
    union = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared
    overlap: Tensor = shared / union
    return overlap


def _mirror(maps: Sequence[Tensor], anchors: Sequence[int]) -> Tensor:
    """[P] For each prior, the index of the one at the mirrored cell of its map.

    Priors run by row, column and anchor. Where a stride does not divide the image (SSD300's first map: 38 cells
    of 8 pixels) the mirrored prior is off by a part of the stride, as in the public code of CSD and ISD.
    """
    start, parts = 0, []
    for features, count in zip(maps, anchors, strict=True):
        height, width = features.shape[-2:]
        cells = torch.arange(start, start + height * width * count).view(height, width, count)
        parts.append(cells.flip(1).flatten())
        start += cells.numel()
    return torch.cat(parts)
