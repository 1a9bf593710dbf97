"""How difficult each class is to a detector while it trains (PPAL; Yang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from mgral.core.types import Doubles
from mgral.detection.base import Detector, RawOutput, Target
from mgral.detection.priors import PriorDetector, PriorOutput, of_priors
from mgral.strategies._context import StrategyContext
from mgral.strategies._positives import positives


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


def qualities(
    detector: PriorDetector, raw: PriorOutput, targets: Sequence[Target], exponent: float
) -> tuple[Tensor, Tensor]:
    """Class [n] and p^ξ · IoU^(1-ξ) [n] of the positive priors of a batch.

    Args:
        detector: decodes the boxes.
        raw: outputs for the batch.
        targets: objects of its images. A prior is positive if it overlaps one by at least 0.5, or is its best.
        exponent: the paper's ξ, of the probability of the object's class.
    """
    found = positives(detector, targets)
    at = found.images, found.priors
    boxes = detector.decode(raw.offsets[at], detector.priors[found.priors])
    overlaps = torch.zeros(len(boxes), device=boxes.device)
    for image, target in enumerate(targets):
        rows = torch.nonzero(found.images == image).squeeze(1)
        if len(rows):
            overlaps[rows] = box_iou(boxes[rows], target.xyxy).gather(1, found.objects[rows, None]).squeeze(1)
    probs = detector.foreground(detector.probabilities(raw.logits[at])).gather(1, found.labels[:, None]).squeeze(1)
    return found.labels, probs**exponent * overlaps ** (1 - exponent)


def measure(
    detector: PriorDetector, average: ClassDifficulty, context: StrategyContext, seed: int, exponent: float
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

    def term(_detector: Detector, _step: int, raw: RawOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        with torch.no_grad():
            average.update(*qualities(detector, of_priors(raw), targets, exponent))
        return {}

    context.fit_with(detector, average, seed, term)
    values: Doubles = average.values.cpu().numpy()
    return values
