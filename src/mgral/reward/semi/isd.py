"""ISD: interpolation-based semi-supervised detection for the SSD family (Jeong et al., CVPR 2021).

``variant`` selects the paper or the official code where they differ:

=========================  ====================================  ==========================================
                           paper (ours [R] where it is silent)   code
=========================  ====================================  ==========================================
target of a divergence     learns too, except in type II         is detached: the other side alone learns
images of the consistency  the unlabelled ones                   labelled and unlabelled ones, mixed too
first epoch                without this term                     this term on labelled images alone
=========================  ====================================  ==========================================

Two faults of the code are fixed in both: the location target of the flipped image carries its sign change everywhere,
and labelled and unlabelled images come in a fixed ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mgral.config.base import Settings
from mgral.core import random_streams
from mgral.core.types import Activation

if TYPE_CHECKING:
    from torch import Tensor

    from mgral.data.image_cache import Cache
    from mgral.detection.base import Detector, RawOutput, Target
    from mgral.detection.device import Device
    from mgral.detection.priors import PriorDetector
    from mgral.detection.training import ExtraLoss, TrainingConfig

ACTIVATIONS: frozenset[Activation] = frozenset({"softmax"})  # foreground is where background is not the largest
USES_PRIORS = True


class Options(Settings):
    """Options of ISD; defaults from the paper and its code."""

    variant: Literal["paper", "code"] = Field(
        "paper", description="as in the paper, or as in its code where that differs"
    )
    weight: float = Field(1.0, ge=0, description="of the whole term; 0 is the control: same batches, no signal")
    ratio: float = Field(1.0, gt=0, description="unlabelled images per labelled one")
    type1: float = Field(0.1, ge=0, description="weight of type I: both mixed priors are foreground")
    type2: float = Field(1.0, ge=0, description="weight of type II: one of them is")
    flip: float = Field(1.0, ge=0, description="weight of consistency under a horizontal flip (CSD)")
    beta: float = Field(100.0, gt=0, description="mixing ratio ~ Beta(beta, beta)")
    ramp_up: float = Field(
        32 / 120, ge=0, le=1, description="share of the steps over which the weight rises; 32 of 120 thousand"
    )
    ramp_down: float = Field(
        20 / 120, ge=0, le=1, description="share of the steps over which it falls at the end; 20 of 120 thousand"
    )


def build(
    options: Options,
    cache: Cache,
    unlabelled: Sequence[int],
    labelled: Sequence[int],
    plan: TrainingConfig,
    device: Device,
    seed: int,
) -> ExtraLoss:
    """The term for one training.

    The first epoch is labelled only, as published; at most the time in which the weight rises, so that a training of
    few epochs sees its batch.
    """
    import torch

    from mgral.detection.priors import with_priors
    from mgral.detection.training import draw

    ids, own = sorted(unlabelled), sorted(labelled)
    size = max(2, 2 * round(plan.batch_size * options.ratio / 2))  # even: halves are mixed with each other
    first_epoch = min(math.ceil(len(labelled) / plan.batch_size), int(options.ramp_up * plan.steps))

    def term(detector: Detector, step: int, _raw: RawOutput, _targets: Sequence[Target]) -> dict[str, Tensor]:
        chosen = draw(ids, size, step, seed, "unlabelled")
        weight = options.weight * ramp(step, plan.steps, options)
        if options.variant == "code":
            labelled_ones = draw(own, 2 * math.ceil(plan.batch_size / 2), step, seed, "order")
            chosen = labelled_ones + (chosen if step >= first_epoch else [])
        elif step < first_epoch:
            weight = 0.0
        images = device.images(cache.pixels(chosen))
        share = float(random_streams.generator(seed, "mix", step).beta(options.beta, options.beta))
        with torch.set_grad_enabled(weight > 0):
            parts = losses(with_priors(detector), images, share, device, options)
        return {f"isd_{name}": weight * value for name, value in parts.items()}

    return term


def ramp(step: int, steps: int, options: Options) -> float:
    """Up exp(-5 (1 - t/T1)^2), flat, down exp(-12.5 (1 - t'/T2)^2), t' the steps that remain."""
    up, down = options.ramp_up * steps, options.ramp_down * steps
    if step < up:
        return math.exp(-5 * (1 - step / up) ** 2)
    if steps - step < down:
        return math.exp(-12.5 * (1 - (steps - step) / down) ** 2)
    return 1.0


def losses(
    detector: PriorDetector, images: Tensor, share: float, device: Device, options: Options
) -> dict[str, Tensor]:
    """Flip consistency, type I and type II of a batch.

    Args:
        detector: softmax, of an even number of images.
        images: [B, 3, S, S]; image a is mixed with b, the flipped image half a batch further on.
        share: of image a in the mix, 0..1.
        device: precision.
        options: weights.
    """
    import torch

    half = len(images) // 2
    flipped = images.flip(3)
    mixed = share * images + (1 - share) * flipped.roll(half, 0)
    stacked = torch.cat([images, flipped, mixed]).contiguous(memory_format=torch.channels_last)
    with device.autocast():
        raw = detector(stacked)
    p_a, p_flip, p_mix = raw.logits.float().softmax(-1).chunk(3)
    o_a, o_flip, o_mix = raw.offsets.float().chunk(3)
    p_b, o_b = p_flip.roll(half, 0), o_flip.roll(half, 0)
    front_a, front_b = foreground(p_a), foreground(p_b)
    mirrored = p_flip[:, detector.mirror], o_flip[:, detector.mirror]
    detach = options.variant == "code"
    return {
        "flip": options.flip * flip_consistency(p_a, o_a, *mirrored, detach),
        "type1": options.type1 * type1(share * p_a + (1 - share) * p_b, p_mix, front_a & front_b, detach),
        "type2": options.type2
        * (type2(p_a, o_a, p_mix, o_mix, front_a & ~front_b) + type2(p_b, o_b, p_mix, o_mix, front_b & ~front_a)),
    }


def foreground(probs: Tensor) -> Tensor:
    """[…] Where the largest foreground probability exceeds the background's; probs [..., C + 1]."""
    return probs[..., 1:].max(-1).values > probs[..., 0]


def flip_consistency(p: Tensor, offsets: Tensor, p_flip: Tensor, offsets_flip: Tensor, detach: bool = False) -> Tensor:
    """CSD (Jeong et al. 2019): KL both ways over two, and squared error of the offsets with dx negated.

    Counted where the plain image's prior is foreground. All tensors are aligned prior by prior.
    """
    mask = foreground(p)
    sign = offsets.new_tensor([-1.0, 1.0, 1.0, 1.0])
    return symmetric_kl(p, p_flip, mask, detach) + squared_error(offsets, offsets_flip * sign, mask)


def type1(target: Tensor, mixed: Tensor, mask: Tensor, detach: bool = False) -> Tensor:
    """Both images show an object at the prior: the mix of their answers is the answer to the mix."""
    return symmetric_kl(target, mixed, mask, detach)


def type2(p: Tensor, offsets: Tensor, mixed: Tensor, offsets_mixed: Tensor, mask: Tensor) -> Tensor:
    """One image shows an object, the other none: the mix still shows the object, in the same place."""
    divergence = mean_where(kl(p.detach(), mixed), mask)
    return divergence + squared_error(offsets.detach(), offsets_mixed, mask)


def kl(p: Tensor, q: Tensor, epsilon: float = 1e-7) -> Tensor:
    """KL(p ‖ q) over the last dimension."""
    return (p * ((p + epsilon).log() - (q + epsilon).log())).sum(-1)


def symmetric_kl(p: Tensor, q: Tensor, mask: Tensor, detach: bool = False) -> Tensor:
    """(KL(p ‖ q) + KL(q ‖ p)) / 2, mean where the mask holds; ``detach``: no gradient into the first of each."""
    targets = (p.detach(), q.detach()) if detach else (p, q)
    return mean_where(kl(targets[0], q) + kl(targets[1], p), mask) / 2


def squared_error(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Mean over the four offsets of (a - b)^2, mean where the mask holds."""
    return mean_where((a - b).square().mean(-1), mask)


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask holds; 0 if nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
