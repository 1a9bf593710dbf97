"""Two classifiers that learn to disagree, and a head for what an image shows (MI-AOD; Yuan et al., CVPR 2021).

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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mgral.config.schema import Evaluation
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.types import Detections, Doubles
from mgral.data.image_cache import Cache
from mgral.detection.base import Target
from mgral.detection.device import Device
from mgral.detection.inference import outputs, run_inference
from mgral.detection.priors import PriorDetector, PriorOutput
from mgral.detection.training import batch, descend
from mgral.strategies._context import StrategyContext
from mgral.strategies.mi_aod.losses import Combination, discrepancy, image_labels
from mgral.strategies.mi_aod.options import Options

Phase = Literal["labelled", "minimise", "maximise"]


@dataclass(frozen=True)
class TwoHeadOutput:
    """The network's output for a batch.

    Attributes:
        raw: of the detector; its logits are those of f1.
        second: [B, P, K] logits of f2.
        mil: [B, P, C] logits of the MIL head.
    """

    raw: PriorOutput
    second: Tensor
    mil: Tensor


class TwoHeads(nn.Module):
    """A detector, a second classifier and a MIL head."""

    def __init__(self, detector: PriorDetector, second: nn.Module, mil: nn.Module) -> None:
        super().__init__()
        self.detector, self.second, self.mil = detector, second, mil

    def forward(self, images: Tensor) -> TwoHeadOutput:
        """The outputs of both heads for images [B, 3, size, size] in [0, 1]."""
        raw = self.detector(images)
        return TwoHeadOutput(raw, self.second(raw.features), self.detector.foreground(self.mil(raw.features)).float())

    def probabilities(self, seen: TwoHeadOutput) -> tuple[Tensor, Tensor]:
        """p1 and p2, each [B, P, C]."""
        both = (self.detector.probabilities(logits) for logits in (seen.raw.logits, seen.second))
        first, second = (self.detector.foreground(probs) for probs in both)
        return first, second

    def together(self, seen: TwoHeadOutput, combination: Combination) -> Tensor:
        """[B, P, C] what f1 and f2 say together: the probability of their mean logit, or their mean probability."""
        if combination.mean_logits:
            mean = (seen.raw.logits.float() + seen.second.float()) / 2
            return self.detector.foreground(self.detector.probabilities(mean))
        first, second = self.probabilities(seen)
        return (first + second) / 2

    def answer(self, maps: list[Tensor]) -> PriorOutput:
        """The detector's answer to the maps, with logits whose probabilities are the mean of those of f1 and f2."""
        raw = self.detector.answer(maps)
        first, second = (self.detector.probabilities(logits) for logits in (raw.logits, self.second(raw.features)))
        mean = (first + second) / 2
        return replace(raw, logits=mean.log() if self.detector.activation == "softmax" else mean.logit())

    def classifier_weights(self) -> list[nn.Parameter]:
        """Of f1 and f2; of an mmdet detector, whose head is one module, also those that locate boxes."""
        return [*self.detector.classifier().parameters(), *self.second.parameters()]


def build(fresh: Callable[[int], PriorDetector], seed: int) -> TwoHeads:
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
    rounded, at least one; in B and C, unlabelled images come with the labelled ones, so a step counts twice (in the
    variant ``code`` it becomes two). The
    public code lets the data be repeated, which likewise makes an epoch any number of passes.

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


def train(network: TwoHeads, context: StrategyContext, seed: int, options: Options) -> None:
    """Train in place, through the phases.

    In each round as many unlabelled images as there are labelled ones are drawn again. Learning rate, batch, decay and
    augmentation are those of the plain training, over all phases. Running statistics of batch normalisation follow
    every batch. Without unlabelled images all steps are of phase A, as the others exist for the sake of these.

    Args:
        network: of :func:`build`; is moved to the context's device.
        context: images, labels, how long a plain detector trains, machine, checkpoint and log. The log has, beside the
            losses, ``phase``, ``images`` (which a step saw) and ``gradient_norm``.
        seed: of order, augmentation and what is drawn.
        options: phases, weights and variant.

    Raises:
        MgralError: no labelled image, or a loss that is not finite.
    """
    labelled, unlabelled = context.pool.labelled_ids, sorted(context.pool.unlabelled)
    if not labelled:
        raise MgralError("the labelled pool is empty; set budget.initial to at least 1")
    rounds = options.rounds if unlabelled else 0
    combination = Combination.of(options.variant, network.detector.level_sizes)
    steps = list(_steps(schedule(options.effort * context.plan.steps, rounds, options.epochs), combination))
    subsets = [_subset(unlabelled, len(labelled), seed, k) for k in range(rounds)]
    network.to(context.device.torch_device)
    trained = [one for one in network.parameters() if one.requires_grad]

    def see(ids: Sequence[int], purpose: str, draw: int) -> tuple[TwoHeadOutput, list[Target]]:
        stream = random_streams.stream(seed, purpose)
        found = batch(context.cache, ids, context.plan, context.device, stream, draw, labelled=purpose == "labelled")
        with context.device.autocast():
            return network(found[0]), found[1]

    def losses(step: int) -> dict[str, Tensor]:
        now = steps[step]
        _hold(network, trained, now.phase)
        found: dict[str, Tensor] = {}
        if now.images != "unlabelled":
            found = labelled_losses(network, *see(labelled, "labelled", now.draw), combination)
            if now.phase == "maximise":  # of f1 and f2 alone
                found = {"classification": found["classification"]}
        if now.images != "labelled":
            seen, _ = see(subsets[now.round], "unlabelled", now.draw)
            found |= unlabelled_losses(network, seen, now.phase, combination, options)
        return found

    plan = replace(context.plan, steps=len(steps))
    rows = descend(network, losses, plan, context.checkpoint, gradient_norms=True)
    _hold(network, trained, "labelled")
    about = [{"step": k, "phase": one.phase, "images": one.images} for k, one in enumerate(steps)]
    context.write_log([{**first, **row} for first, row in zip(about, rows, strict=True)])


@dataclass(frozen=True)
class Step:
    """A step of the training: its phase and round, the images it sees, and the number of the draw of these."""

    phase: Phase
    round: int
    images: Literal["labelled", "unlabelled", "both"]
    draw: int


def _steps(phases: Sequence[tuple[Phase, int]], combination: Combination) -> Iterator[Step]:
    """The steps of a schedule: one each, or in the phases B and C two where unlabelled images have their own."""
    for draw, (phase, k) in enumerate(phases):
        if phase == "labelled":
            yield Step(phase, k, "labelled", draw)
        elif combination.separate:
            yield Step(phase, k, "labelled", draw)
            yield Step(phase, k, "unlabelled", draw)
        else:
            yield Step(phase, k, "both", draw)


def unlabelled_losses(
    network: TwoHeads, seen: TwoHeadOutput, phase: Phase, combination: Combination, options: Options
) -> dict[str, Tensor]:
    """``disagreement`` and ``pseudo`` of phase B, or ``agreement`` of phase C; weighted."""
    first, second = network.probabilities(seen)
    weights = combination.instance_weights(seen.mil, network.together(seen, combination))
    if phase == "maximise":
        return {"agreement": options.weight * combination.agreement(first, second, weights)}
    hidden = combination.pseudo_loss(combination.image_scores(weights), (first + second) / 2, options.pseudo)
    return {"disagreement": options.weight * combination.disagreement(first, second, weights), "pseudo": hidden}


def labelled_losses(
    network: TwoHeads, seen: TwoHeadOutput, targets: Sequence[Target], combination: Combination
) -> dict[str, Tensor]:
    """``classification`` (mean of f1's and f2's), ``localisation`` and ``image`` (the MIL head's cross-entropy)."""
    detector = network.detector
    first = detector.losses(seen.raw, targets)
    second = detector.losses(replace(seen.raw, logits=seen.second), targets)
    weights = combination.instance_weights(seen.mil, network.together(seen, combination))
    scores = combination.image_scores(weights)
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
    means, peaks = [torch.zeros(0)], [torch.zeros(0)]
    for _, _, seen in outputs(network, cache, ids, device):
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
        ids: images to run it on.
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
