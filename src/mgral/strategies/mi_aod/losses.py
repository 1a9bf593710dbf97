"""The weights, losses and scores of MI-AOD (Yuan et al., CVPR 2021), as in the paper or as in its code.

Throughout, P anchors of an image are those of all levels of the pyramid end to end, finest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mgral.detection.base import Target

EPSILON = 1e-5  # image scores stay this far from 0 and 1, as in the public code


@dataclass(frozen=True)
class Combination:
    """How anchors, levels and images are combined: the points in which the paper and its code differ.

    Attributes:
        levels: numbers of anchors over which a softmax runs, each; they sum to P. Paper: one, of all anchors. Code:
            one for each level.
        sum_images: whether disagreements of a batch are summed over its images, as in the code; else averaged.
        mean_logits: whether the anchors' foreground is the probability of the classifiers' mean logit, as in the code;
            else the mean of their probabilities.
        strict: whether one image without a pseudo label silences its batch, as in the code; else that image alone.
        separate: whether unlabelled images have steps of their own, as in the code.
    """

    levels: tuple[int, ...]
    sum_images: bool = False
    mean_logits: bool = False
    strict: bool = False
    separate: bool = False

    @classmethod
    def of(cls, variant: str, level_sizes: Sequence[int]) -> Combination:
        """That of a variant, ``paper`` or ``code``, for a detector with so many priors on each level."""
        if variant == "paper":
            return cls((sum(level_sizes),))
        return cls(tuple(level_sizes), sum_images=True, mean_logits=True, strict=True, separate=True)

    def instance_weights(self, mil: Tensor, probs: Tensor) -> Tensor:
        """[B, P, C] :func:`instance_weights` of each level; arguments as there."""
        levels = zip(mil.split(self.levels, 1), probs.split(self.levels, 1), strict=True)
        return torch.cat([instance_weights(*level) for level in levels], 1)

    def image_scores(self, weights: Tensor) -> Tensor:
        """[B, C] which classes the MIL head sees in an image, in 0..1: maximum over levels of the sum over anchors."""
        sums = torch.stack([level.sum(1) for level in weights.split(self.levels, 1)])
        return sums.amax(0).clamp(EPSILON, 1 - EPSILON)

    def disagreement(self, first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
        """Σ over anchors of the mean over classes of |p1 - p2|·w, over a batch; w without gradient.

        Args:
            first: p1, [B, P, C].
            second: p2, [B, P, C].
            weights: w, [B, P, C].
        """
        return self._over_images(((first - second).abs() * weights.detach()).mean(2).sum(1))

    def agreement(self, first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
        """The same with 1 - |p1 - p2|: small where they disagree."""
        return self._over_images(((1 - (first - second).abs()) * weights.detach()).mean(2).sum(1))

    def _over_images(self, values: Tensor) -> Tensor:
        return values.sum() if self.sum_images else values.mean()

    def pseudo_loss(self, scores: Tensor, probs: Tensor, threshold: float) -> Tensor:
        """Cross-entropy of image scores with what the classifiers see: classes that some anchor shows at the threshold.

        Images in which they see nothing are left out; in the code, the batch of such an image.

        Args:
            scores: [B, C] of the MIL head.
            probs: [B, P, C], mean of p1 and p2.
            threshold: in 0..1, reached or exceeded.
        """
        labels = (probs.detach().max(1).values >= threshold).float()
        clear = labels.any(1)
        if self.strict:
            clear = clear & clear.all()
        losses = F.binary_cross_entropy(scores, labels, reduction="none").mean(1)
        return (losses * clear).sum() / clear.sum().clamp(min=1)


def instance_weights(mil: Tensor, probs: Tensor) -> Tensor:
    """w: how much each anchor says about each class of its image.

    The softmax of the MIL head over classes times the softmax over the image's anchors of the largest class
    probability; into the latter no gradient flows. With one class the first would be 1 everywhere: it is taken against
    a background with logit 0, which makes it a sigmoid [R].

    Args:
        mil: [B, P, C] logits.
        probs: [B, P, C], of f1 and f2 together.

    Returns:
        [B, P, C] in 0..1; an image's sum over anchors and classes is 1 (with one class: at most).
    """
    classes = mil.softmax(-1) if mil.shape[-1] > 1 else mil.sigmoid()
    return classes * probs.detach().max(-1, keepdim=True).values.softmax(1)


def image_labels(targets: Sequence[Target], num_classes: int) -> Tensor:
    """[B, C] 1 for the classes of an image's objects, 0 for the rest."""
    return torch.stack([torch.bincount(one.labels, minlength=num_classes).clamp(max=1) for one in targets]).float()


def discrepancy(first: Tensor, second: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """How far the classifiers are apart in an image.

    Args:
        first: p1, [B, P, C].
        second: p2.
        top: anchors that count, of the largest discrepancy.

    Returns:
        [B] mean over these anchors of the mean over classes of (p1 - p2)², and [B] the largest one.
    """
    largest = (first - second).square().mean(2).topk(min(top, first.shape[1]), dim=1).values
    return largest.mean(1), largest[:, 0]
