"""Learning to predict a detector's loss, beside its training (LL4AL; Yoo & Kweon, CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mgral.core import random_streams
from mgral.core.types import Doubles
from mgral.data.image_cache import Cache
from mgral.detection.base import Detector, RawOutput, Target
from mgral.detection.device import Device
from mgral.detection.inference import outputs
from mgral.strategies._context import StrategyContext
from mgral.strategies.ll4al.options import Options


class LossHead(nn.Module):
    """The loss prediction module: feature maps to a loss (section 3.2).

    Of each map the global average, a layer with ReLU of its own; these side by side, and one last layer.
    """

    def __init__(self, widths: Sequence[int], hidden: int) -> None:
        """Take the channels of each map and the width of a map's layer."""
        super().__init__()
        self.of_map = nn.ModuleList(nn.Linear(width, hidden) for width in widths)
        self.out = nn.Linear(hidden * len(widths), 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps, each [B, C_l, H_l, W_l], to predicted losses [B]."""
        pooled = [one.float().mean((2, 3)) for one in features]
        seen = [layer(one).relu() for layer, one in zip(self.of_map, pooled, strict=True)]
        predicted: Tensor = self.out(torch.cat(seen, 1))[:, 0]
        return predicted


def ranking_loss(predicted: Tensor, losses: Tensor, margin: float) -> Tensor:
    """Mean over pairs (i, B-1-i) of max(0, -sign(l_i - l_j)·(p_i - p_j) + margin) (equation 2).

    Only which loss of a pair is larger is to be learnt, not the losses, whose size falls during training. Of an odd
    batch the image in the middle has no partner and is left out; a pair of equal losses teaches nothing.

    Args:
        predicted: [B], B >= 2.
        losses: [B] of the same images; no gradient flows into them.
        margin: the paper's ξ.
    """
    pairs = len(losses) // 2
    order = (losses - losses.flip(0))[:pairs].sign().detach()
    difference = (predicted - predicted.flip(0))[:pairs]
    return (margin - order * difference).clamp(min=0).mean()


def train(detector: Detector, context: StrategyContext, seed: int, options: Options) -> LossHead:
    """Train a detector and the head that predicts its losses together.

    Args:
        detector: with initial weights; is trained in place.
        context: images, labels, how long to train, machine and checkpoint.
        seed: of the head's initial weights, of order and augmentation.
        options: width of the head, margin and weight of its loss, and how long that reaches the detector.

    Raises:
        MgralError: no labelled image, or a loss that is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_streams.stream(seed, "loss head"))
        head = LossHead([channels for channels, _, _ in detector.shapes], options.hidden)

    def term(_detector: Detector, step: int, raw: RawOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        with torch.no_grad():
            losses = detector.image_losses(raw, targets)
        shared = step < options.joint * context.plan.steps
        predicted = head(raw.features if shared else [one.detach() for one in raw.features])
        return {"ranking": options.weight * ranking_loss(predicted, losses, options.margin)}

    context.fit_with(detector, head, seed, term)
    return head


@torch.inference_mode()
def predicted_losses(detector: Detector, head: LossHead, cache: Cache, ids: Sequence[int], device: Device) -> Doubles:
    """[n] what the head predicts for images, in the order of ``ids``."""
    head.to(device.torch_device).eval()
    parts = [torch.zeros(0), *(head(raw.features).cpu() for _, _, raw in outputs(detector, cache, ids, device))]
    predicted: Doubles = torch.cat(parts).double().numpy()
    return predicted
