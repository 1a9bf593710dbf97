"""Two classifiers that are taught to disagree, and one that finds what an image shows (MI-AOD; Yuan et al., CVPR 2021).

Beside a detector's own classifier f1 stand a second one, f2, and a head for multiple-instance learning (MIL), both of
f1's architecture, with initial weights of their own, over the same feature maps. Training goes through three phases:

- ``labelled`` (A): all weights learn from labels; the losses of f1 and f2 are averaged, and the MIL head learns which
  classes an image shows;
- ``minimise`` (B): f1 and f2 are held; features are learnt on which they agree, on unlabelled images too;
- ``maximise`` (C): f1 and f2 alone learn, to disagree on unlabelled images and be right on labelled ones.

The probabilities p1 and p2 are those of the C classes: of a softmax detector without the background's, which is what
they leave of 1 and would count every disagreement once more; of a sigmoid detector all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mgral.config.schema import Evaluation
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Detections, Doubles
from mgral.data.image_cache import Cache
from mgral.detection.base import Detector, RawOutput, Target
from mgral.detection.device import Device, in_batches
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig, batch, descend

EPSILON = 1e-5  # image scores stay this far from 0 and 1, as in the public code

Phase = Literal["labelled", "minimise", "maximise"]


@dataclass(frozen=True)
class TwoHeadOutput:
    """What the network says of a batch.

    Attributes:
        raw: of the detector; its logits are those of f1.
        second: [B, P, K] logits of f2.
        mil: [B, P, C] logits of the MIL head.
    """

    raw: RawOutput
    second: Tensor
    mil: Tensor


class TwoHeads(nn.Module):
    """A detector, a second classifier and a MIL head."""

    def __init__(self, detector: Detector, second: nn.Module, mil: nn.Module) -> None:
        super().__init__()
        self.detector, self.second, self.mil = detector, second, mil

    def forward(self, images: Tensor) -> TwoHeadOutput:
        raw = self.detector(images)
        return TwoHeadOutput(raw, self.second(raw.features), self.detector.foreground(self.mil(raw.features)).float())

    def probabilities(self, seen: TwoHeadOutput) -> tuple[Tensor, Tensor]:
        """p1 and p2, each [B, P, C]."""
        both = (self.detector.probabilities(logits) for logits in (seen.raw.logits, seen.second))
        first, second = (self.detector.foreground(probs) for probs in both)
        return first, second

    def answer(self, maps: list[Tensor]) -> RawOutput:
        """The detector's answer to the maps, with logits whose probabilities are the mean of those of f1 and f2."""
        raw = self.detector.answer(maps)
        first, second = (self.detector.probabilities(logits) for logits in (raw.logits, self.second(raw.features)))
        mean = (first + second) / 2
        return replace(raw, logits=mean.log() if self.detector.activation == "softmax" else mean.logit())

    def classifier_weights(self) -> list[nn.Parameter]:
        """Of f1 and f2; of an mmdet detector, whose head is one module, also those that locate boxes."""
        return [*self.detector.classifier().parameters(), *self.second.parameters()]


def build(fresh: Callable[[int], Detector], seed: int) -> TwoHeads:
    """The network; the heads are those of three detectors with initial weights from different seeds.

    Args:
        fresh: makes a detector from a seed.
        seed: of the detector.

    Raises:
        MgralError: both classifiers start from the same given weights, and so would never part.
    """
    second = fresh(random_streams.stream(seed, "second classifier")).classifier()
    mil = fresh(random_streams.stream(seed, "MIL head")).classifier()
    network = TwoHeads(fresh(seed), second, mil)
    own = network.detector.classifier().parameters()
    if all(torch.equal(a, b) for a, b in zip(own, second.parameters(), strict=True)):
        raise MgralError(
            "detector.options.weights: holds the classifier too, but mi_aod needs two that differ; "
            "give weights of the backbone alone"
        )
    return network


def schedule(steps: float, rounds: int, epochs: int) -> list[tuple[Phase, int]]:
    """Phase and round of each step: A for some epochs, then in each round B and C for one and A for as many again.

    What is called an epoch lasts as many steps as make the images trained on as many as in ``steps`` plain steps,
    rounded, at least one; in B and C, unlabelled images come with the labelled ones, so a step counts twice. (The
    public code lets the data be repeated, which likewise makes an epoch any number of passes.)

    Args:
        steps: plain steps.
        rounds: of B, C and A.
        epochs: of A each time.
    """
    length = max(1, round(steps / (epochs + rounds * (2 + 2 + epochs))))
    plan: list[tuple[Phase, int]] = [("labelled", 0)] * (epochs * length)
    for k in range(rounds):
        lengths: list[tuple[Phase, int]] = [("minimise", 1), ("maximise", 1), ("labelled", epochs)]
        for phase, count in lengths:
            plan += [(phase, k)] * (count * length)
    return plan


def instance_weights(mil: Tensor, probs: Tensor) -> Tensor:
    """w: how much each anchor says about each class of its image.

    The softmax of the MIL head over classes times the softmax over the image's anchors of the largest class
    probability; into the latter no gradient flows. With one class the first would be 1 everywhere: it is taken against
    a background with logit 0, which makes it a sigmoid [R].

    Args:
        mil: [B, P, C] logits.
        probs: [B, P, C], mean of p1 and p2.

    Returns:
        [B, P, C] in 0..1; an image's sum over anchors and classes is 1 (with one class: at most).
    """
    classes = mil.softmax(-1) if mil.shape[-1] > 1 else mil.sigmoid()
    return classes * probs.detach().max(-1, keepdim=True).values.softmax(1)


def image_scores(weights: Tensor) -> Tensor:
    """[B, C] which classes the MIL head sees in an image: the sum over anchors, in 0..1."""
    return weights.sum(1).clamp(EPSILON, 1 - EPSILON)


def image_labels(targets: Sequence[Target], num_classes: int) -> Tensor:
    """[B, C] 1 for the classes of an image's objects, 0 for the rest."""
    return torch.stack([torch.bincount(one.labels, minlength=num_classes).clamp(max=1) for one in targets]).float()


def pseudo_loss(scores: Tensor, probs: Tensor, threshold: float) -> Tensor:
    """Cross-entropy of image scores with what the classifiers see: classes that some anchor shows at the threshold.

    Images in which they see nothing are left out; the public code leaves out the whole batch.

    Args:
        scores: [B, C] of the MIL head.
        probs: [B, P, C], mean of p1 and p2.
        threshold: in 0..1, reached or exceeded.
    """
    labels = (probs.detach().max(1).values >= threshold).float()
    clear = labels.any(1)
    losses = F.binary_cross_entropy(scores, labels, reduction="none").mean(1)
    return (losses * clear).sum() / clear.sum().clamp(min=1)


def disagreement(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """Mean over images of Σ over anchors of the mean over classes of |p1 - p2|·w; w without gradient."""
    return ((first - second).abs() * weights.detach()).mean(2).sum(1).mean()


def agreement(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """The same with 1 - |p1 - p2|: small where they disagree."""
    return ((1 - (first - second).abs()) * weights.detach()).mean(2).sum(1).mean()


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


def train(
    network: TwoHeads,
    cache: Cache,
    labelled: Sequence[int],
    unlabelled: Sequence[int],
    plan: TrainingConfig,
    device: Device,
    seed: int,
    checkpoint: Path,
    *,
    effort: float,
    rounds: int,
    epochs: int,
    weight: float,
    pseudo: float,
) -> None:
    """Train in place, through the phases.

    In each round as many unlabelled images as there are labelled ones are drawn anew. Learning rate, batch, decay and
    augmentation are those of the plan, over all phases. Running statistics of batch normalisation follow every batch.

    Args:
        network: of :func:`build`; is moved to ``device.torch_device``.
        cache: images at the detector's input size, and boxes of the labelled ones.
        labelled: ids, at least one.
        unlabelled: ids; without any all steps are of phase A, as the others are for the sake of these.
        plan: of a plain training.
        device: device and precision.
        seed: of order, augmentation and what is drawn.
        checkpoint: as for :func:`mgral.detection.training.fit`.
        effort: images trained on, as a multiple of the plan's; see :func:`schedule` for it and the next two.
        rounds: of B, C and A.
        epochs: of A each time.
        weight: the paper's λ, of the disagreement.
        pseudo: probability from which a class counts as shown by an unlabelled image.

    Raises:
        MgralError: no labelled image, or a loss that is not finite.
    """
    if not labelled:
        raise MgralError("the labelled pool is empty; set budget.initial to at least 1")
    labelled, unlabelled = sorted(labelled), sorted(unlabelled)
    rounds = rounds if unlabelled else 0
    phases = schedule(effort * plan.steps, rounds, epochs)
    subsets = [_subset(unlabelled, len(labelled), seed, k) for k in range(rounds)]
    network.to(device.torch_device)
    trained = [one for one in network.parameters() if one.requires_grad]

    def see(ids: Sequence[int], purpose: str, step: int) -> tuple[TwoHeadOutput, list[Target]]:
        stream = random_streams.stream(seed, purpose)
        images, targets = batch(cache, ids, plan, device, stream, step, labelled=purpose == "labelled")
        with device.autocast():
            return network(images), targets

    def losses(step: int) -> dict[str, Tensor]:
        phase, k = phases[step]
        _hold(network, trained, phase)
        found = labelled_losses(network, *see(labelled, "labelled", step))
        if phase == "labelled":
            return found
        seen, _ = see(subsets[k], "unlabelled", step)
        first, second = network.probabilities(seen)
        probs = (first + second) / 2
        weights = instance_weights(seen.mil, probs)
        if phase == "minimise":
            hidden = pseudo_loss(image_scores(weights), probs, pseudo)
            return {**found, "disagreement": weight * disagreement(first, second, weights), "pseudo": hidden}
        return {
            "classification": found["classification"],
            "agreement": weight * agreement(first, second, weights),
        }

    descend(network, losses, replace(plan, steps=len(phases)), checkpoint)
    _hold(network, trained, "labelled")


def labelled_losses(network: TwoHeads, seen: TwoHeadOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
    """``classification`` (mean of f1's and f2's), ``localisation`` and ``image`` (the MIL head's cross-entropy)."""
    detector = network.detector
    first = detector.losses(seen.raw, targets)
    second = detector.losses(replace(seen.raw, logits=seen.second), targets)
    p1, p2 = network.probabilities(seen)
    scores = image_scores(instance_weights(seen.mil, (p1 + p2) / 2))
    return {
        "classification": (first["classification"] + second["classification"]) / 2,
        "localisation": first["localisation"],
        "image": F.binary_cross_entropy(scores, image_labels(targets, detector.num_classes)),
    }


@torch.inference_mode()
def discrepancies(
    network: TwoHeads, cache: Cache, ids: Sequence[int], device: Device, top: int
) -> tuple[Doubles, Doubles]:
    """:func:`discrepancy` of many images, [n] and [n], in the order of ``ids``."""
    network.to(device.torch_device).eval()
    means, peaks = [torch.zeros(0)], [torch.zeros(0)]
    for chosen in in_batches(ids):
        images = device.images(cache.pixels(chosen))
        with device.autocast():
            seen = network(images)
        mean, peak = discrepancy(*network.probabilities(seen), top)
        means.append(mean.cpu())
        peaks.append(peak.cpu())
    return torch.cat(means).double().numpy(), torch.cat(peaks).double().numpy()


def detections(
    network: TwoHeads, cache: Cache, ids: Sequence[int], evaluation: Evaluation, device: Device
) -> dict[int, Detections]:
    """What the network finds as a detector, by image id: its boxes, with the mean of both classifiers for scores.

    (The public code scores by f1 alone.)

    Args:
        network: trained.
        cache: images at the detector's input size.
        ids: images to look at.
        evaluation: threshold, suppression and number of detections.
        device: device and precision.
    """
    network.to(device.torch_device).eval()
    return run_inference(network.detector, cache, ids, evaluation, device, answer=network.answer).detections


def _subset(ids: Sequence[int], size: int, seed: int, k: int) -> list[int]:
    chosen: list[int] = (
        random_streams.generator(seed, "subset", k).choice(ids, min(size, len(ids)), replace=False).tolist()
    )
    return sorted(chosen)


def _hold(network: TwoHeads, trained: Sequence[nn.Parameter], phase: Phase) -> None:
    """Let those weights learn that the phase is for."""
    classifiers = {id(one) for one in network.classifier_weights()}
    for one in trained:
        one.requires_grad_(phase == "labelled" or (id(one) in classifiers) == (phase == "maximise"))
