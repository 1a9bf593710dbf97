"""How difficult each class is to a detector while it trains (PPAL; Yang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from mgral.core.types import Doubles
from mgral.detection.base import Detector, RawOutput, Target
from mgral.detection.training import fit
from mgral.strategies._context import StrategyContext

OVERLAP = 0.5  # IoU from which a prior is positive


class ClassDifficulty(nn.Module):
    """A moving average of 1 - quality for each class, from 1 on.

    Attributes:
        values: [C] float64 in 0..1.
        momentum: [C] float64, of the next update of each class.
    """

    values: Tensor
    momentum: Tensor

    def __init__(self, num_classes: int, momentum: float, forgets: bool) -> None:
        """Take C, the momentum of a class that is there in every step, and whether an absent one drifts towards 1."""
        super().__init__()
        self._base, self._forgets = momentum, forgets
        self.register_buffer("values", torch.ones(num_classes, dtype=torch.float64))
        self.register_buffer("momentum", torch.full((num_classes,), momentum, dtype=torch.float64))

    def update(self, labels: Tensor, qualities: Tensor) -> None:
        """Take in the positive priors of a step: class [n] and quality [n] in 0..1 of each."""
        counts = torch.bincount(labels, minlength=len(self.values))
        sums = torch.zeros_like(self.values).index_add_(0, labels, qualities.double())
        there = counts > 0
        seen = 1 - sums / counts.clamp(min=1)  # 1 for an absent class
        moved = self.momentum * self.values + (1 - self.momentum) * seen
        self.values = moved if self._forgets else torch.where(there, moved, self.values)
        self.momentum = torch.where(there, self._base, self._base * self.momentum)


def qualities(detector: Detector, raw: RawOutput, targets: Sequence[Target], exponent: float) -> tuple[Tensor, Tensor]:
    """Class [n] and p^ξ · IoU^(1-ξ) [n] of the positive priors of a batch.

    Args:
        detector: decodes the boxes.
        raw: outputs for the batch.
        targets: objects of its images. A prior is positive if it overlaps one by at least 0.5, or is its best.
        exponent: the paper's ξ, of the probability of the object's class.
    """
    labels, found = [torch.zeros(0, dtype=torch.int64, device=raw.logits.device)], [raw.logits.new_zeros(0).float()]
    matcher = SSDMatcher(OVERLAP)
    probs = detector.foreground(detector.probabilities(raw.logits))
    for image, target in enumerate(targets):
        if not len(target.labels):
            continue
        matched = matcher(box_iou(target.xyxy, detector.priors))  # [P], negative for background
        priors = torch.nonzero(matched >= 0).squeeze(1)
        objects = matched[priors]
        boxes = detector.decode(raw.offsets[image, priors], detector.priors[priors])
        overlaps = box_iou(boxes, target.xyxy).gather(1, objects[:, None]).squeeze(1)
        labels.append(target.labels[objects])
        found.append(probs[image, priors, labels[-1]] ** exponent * overlaps ** (1 - exponent))
    return torch.cat(labels), torch.cat(found)


def measure(
    detector: Detector, average: ClassDifficulty, context: StrategyContext, seed: int, exponent: float
) -> Doubles:
    """Train a detector and average the qualities of its predictions over all steps.

    Args:
        detector: with initial weights; is trained in place.
        average: takes in the qualities of each step.
        context: images, labels, how long to train, machine and checkpoint.
        seed: of order and augmentation.
        exponent: see :func:`qualities`.

    Returns:
        [C] difficulties in 0..1.

    Raises:
        MgralError: no labelled image, or a loss that is not finite.
    """
    detector.difficulty = average  # a part of it while it trains: in its checkpoint and on its device

    def term(_detector: Detector, _step: int, raw: RawOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        with torch.no_grad():
            average.update(*qualities(detector, raw, targets, exponent))
        return {}

    labelled = context.pool.labelled_ids
    rows = fit(detector, context.cache, labelled, context.plan, context.device, seed, term, context.checkpoint)
    context.write_log(rows)
    del detector.difficulty
    values: Doubles = average.values.cpu().numpy()
    return values
