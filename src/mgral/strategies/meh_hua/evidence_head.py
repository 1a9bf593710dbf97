"""Predicting each box's classification loss, beside a detector's training (MEH; Park et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou, sigmoid_focal_loss

from mgral.core import random_streams
from mgral.detection.base import Detector, Prediction, RawOutput, Target
from mgral.detection.inference import outputs
from mgral.detection.priors import PriorDetector, PriorOutput, of_priors
from mgral.strategies._context import StrategyContext
from mgral.strategies._distributions import class_distributions
from mgral.strategies._positives import positives
from mgral.strategies.meh_hua.aggregation import ObjectBoxes
from mgral.strategies.meh_hua.options import Options

BELOW = 0.999  # of an image's best score: a threshold that it passes


class EvidenceHead(nn.Module):
    """Feature maps to the predicted classification loss of every prior.

    Of each map a 3 × 3 convolution with ReLU, and another to as many numbers as there are anchors in a cell.
    """

    def __init__(self, detector: PriorDetector, hidden: int) -> None:
        """Take the detector whose maps and priors these are, and the width of the first convolutions."""
        super().__init__()
        self.of_map = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, hidden, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(hidden, count // (height * width), 3, padding=1),
            )
            for (channels, height, width), count in zip(detector.shapes, detector.level_sizes, strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps, each [B, C_l, H_l, W_l], to predicted losses [B, P] > 0, in the order of the priors."""
        maps = [layers(one.float()) for layers, one in zip(self.of_map, features, strict=True)]
        return F.softplus(torch.cat([one.permute(0, 2, 3, 1).flatten(1) for one in maps], 1))


def prior_losses(detector: PriorDetector, raw: PriorOutput, targets: Sequence[Target]) -> tuple[Tensor, Tensor, Tensor]:
    """Image [n], prior [n] and classification loss [n] of the priors that are matched with an object.

    Cross-entropy of the object's class (softmax), or focal loss (γ = 2, α = 0.25), summed over classes (sigmoid).
    """
    found = positives(detector, targets)
    logits = raw.logits[found.images, found.priors].float()
    if detector.activation == "softmax":
        losses = F.cross_entropy(logits, found.labels + 1, reduction="none")
    else:
        losses = sigmoid_focal_loss(logits, F.one_hot(found.labels, logits.shape[1]).to(logits)).sum(1)
    return found.images, found.priors, losses


def evidence_loss(predicted: Tensor, losses: Tensor) -> Tensor:
    """Mean squared error of predicted losses [n]; no gradient flows into the losses; 0 for none."""
    return ((predicted - losses.detach()) ** 2).sum() / max(len(losses), 1)


def train(detector: PriorDetector, context: StrategyContext, seed: int, options: Options) -> EvidenceHead:
    """Train a detector, and the head that predicts its losses on features that are detached.

    Args:
        detector: with initial weights; is trained in place.
        context: images, labels, how long to train, machine and checkpoint.
        seed: of the head's initial weights, of order and augmentation.
        options: width of the head and weight of its loss.

    Raises:
        MgralError: no labelled image, or a loss that is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_streams.stream(seed, "evidence head"))
        head = EvidenceHead(detector, options.hidden)

    def term(_detector: Detector, _step: int, raw: RawOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        with torch.no_grad():
            images, priors, losses = prior_losses(detector, of_priors(raw), targets)
        predicted = head([one.detach() for one in raw.features])
        return {"evidence": options.weight * evidence_loss(predicted[images, priors], losses)}

    context.fit_with(detector, head, seed, term)
    return head


@torch.inference_mode()
def boxes_of_objects(
    detector: PriorDetector, head: EvidenceHead, context: StrategyContext, ids: Sequence[int], options: Options
) -> Iterator[ObjectBoxes]:
    """The boxes that belong to the objects of each image, in the order of ``ids``.

    Objects are detections above ``options.min_score``; where an image has none, the best there is.
    """
    evaluation = context.evaluation
    head.to(context.device.torch_device).eval()
    for _, _, raw in outputs(detector, context.cache, ids, context.device):
        losses = head(raw.features)
        best = detector.foreground(detector.probabilities(raw.logits)).amax((1, 2))
        for k, score in enumerate((best * BELOW).clamp(max=options.min_score).tolist()):
            image = raw.of_image(k)
            objects = detector.predict(image, score, evaluation.nms_iou, evaluation.max_detections)[0]
            yield _of_image(detector, image, losses[k], objects, score, options.overlap)


def _of_image(
    detector: PriorDetector, raw: PriorOutput, losses: Tensor, objects: Prediction, min_score: float, overlap: float
) -> ObjectBoxes:
    probs = detector.probabilities(raw.logits[0])  # [P, K]
    scores, labels = detector.foreground(probs).max(1)
    candidates = torch.nonzero(scores > min_score).squeeze(1)
    boxes = detector.decode(raw.offsets[0, candidates], detector.priors[candidates])
    rows, which = torch.nonzero(box_iou(boxes, objects.xyxy) > overlap).unbind(1)
    priors = candidates[rows].cpu()
    levels = np.repeat(np.arange(len(detector.level_sizes)), detector.level_sizes)
    return ObjectBoxes(
        which.cpu().numpy(),
        levels[priors.numpy()],
        labels.cpu()[priors].numpy(),
        class_distributions(probs.double().cpu()[priors].numpy(), detector.activation),
        losses.double().cpu()[priors].numpy(),
    )
