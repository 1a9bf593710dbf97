"""The priors that a detector should turn into objects, whatever its own loss calls positive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from mgral.detection.base import Target
from mgral.detection.priors import PriorDetector

OVERLAP = 0.5  # IoU from which a prior is positive


class Positives(NamedTuple):
    """The positive priors of a batch, by image and prior."""

    images: Tensor  # [n] of the batch
    priors: Tensor  # [n]
    objects: Tensor  # [n] of the image's target
    labels: Tensor  # [n] classes of these


def positives(detector: PriorDetector, targets: Sequence[Target]) -> Positives:
    """The priors that overlap an object by at least 0.5, or are its best."""
    matcher = SSDMatcher(OVERLAP)
    parts = [torch.zeros(4, 0, dtype=torch.int64, device=detector.priors.device)]
    for image, target in enumerate(targets):
        if len(target.labels):
            matched = matcher(box_iou(target.xyxy, detector.priors))  # [P], negative for background
            priors = torch.nonzero(matched >= 0).squeeze(1)
            objects = matched[priors]
            parts.append(torch.stack([torch.full_like(priors, image), priors, objects, target.labels[objects]]))
    return Positives(*torch.cat(parts, 1))
