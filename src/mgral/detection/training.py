"""The training loop: one for the cycle's detectors, for the proxies, and for what a strategy trains."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import read_checkpoint, write_checkpoint
from mgral.core.types import Boxes
from mgral.data.augmentation import augment, mirror
from mgral.data.image_cache import Cache, Pixels
from mgral.detection.base import Detector, RawOutput, Target
from mgral.detection.device import Device
from mgral.detection.feature_cache import BackboneFeatures

log = logging.getLogger(__name__)

CLIP = 10.0  # largest norm of the gradient

Row = dict[str, float]
StopCondition = Callable[[int], bool]  # of the number of steps taken
ExtraLoss = Callable[
    [Detector, int, RawOutput, Sequence[Target]], dict[str, Tensor]
]  # of a step, and its labelled batch


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast to train; units as in params/base.yaml, group ``training``."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: int
    augment: bool
    checkpoint_every: int = 0


def fit(
    detector: Detector,
    cache: Cache,
    labelled: Sequence[int],
    plan: TrainingConfig,
    device: Device,
    seed: int,
    term: ExtraLoss | None = None,
    checkpoint: Path | None = None,
    backbone_features: BackboneFeatures | None = None,
    halt: StopCondition | None = None,
    added: Sequence[int] = (),
) -> list[Row]:
    """Train in place on the labelled images; the weights depend on the arguments alone.

    Every draw is named by (seed, purpose, step), so a run that resumes from its checkpoint takes the very steps
    it would have taken.

    Args:
        detector: on any device; is moved to ``device.torch_device``.
        cache: images and boxes at the detector's input size.
        labelled: ids, at least one, in any order.
        plan: steps, batch, learning rate.
        device: device and precision.
        seed: of order and augmentation.
        term: further losses of a step, already weighted; the unlabelled images enter here. It is called with the
            detector, the step, and the raw outputs and targets of the step's labelled images.
        checkpoint: file to resume from, and to save to every ``plan.checkpoint_every`` steps and at the end. Whoever
            gives it removes it, once what is made of the training is safe.
        backbone_features: of the labelled images, by a frozen backbone, augmented by the flip alone. None: it is asked.
        halt: asked after each step whether to end here; may look at the detector, and leaves its weights alone.
        added: more labelled ids, in any order. Two trainings that differ in these, and not in their number, show all
            others at the same steps and augmented alike (common random numbers).

    Returns:
        One row per step: ``step``, ``loss``, each of its parts, ``learning_rate``.

    Raises:
        MgralError: no labelled image, or a loss that is not finite.
    """
    if not labelled:
        raise MgralError("the labelled pool is empty; set budget.initial to at least 1")
    labelled = cache.inputs([*sorted(labelled), *sorted(added)])
    detector.to(device.torch_device)
    read = ReadAhead(cache, lambda step: draw(labelled, plan.batch_size, step, seed, "order"), plan.steps, device)

    def losses(step: int) -> dict[str, Tensor]:
        if backbone_features is None:
            images, targets = prepared(cache, *read.of(step), plan, device, seed, step)
            with device.autocast():
                raw = detector(images)
        else:
            maps, targets = batch_of_maps(backbone_features, cache, labelled, plan, device, seed, step)
            with device.autocast():
                raw = detector.answer(maps)
        found = detector.losses(raw, targets)
        return found if term is None else found | term(detector, step, raw, targets)

    with closing(read):
        return descend(detector, losses, plan, checkpoint, halt)


def descend(
    network: nn.Module,
    step_losses: Callable[[int], dict[str, Tensor]],
    plan: TrainingConfig,
    checkpoint: Path | None = None,
    halt: StopCondition | None = None,
    gradient_norms: bool = False,
) -> list[Row]:
    """The loop itself: AdamW on the sum of each step's losses.

    Args:
        network: is put in training mode, on the device it is on. Of its weights, those that a step's losses do not
            reach stay as they are in that step.
        step_losses: the losses of a step, by name; may depend on nothing but the network and the step.
        plan: steps and learning rate.
        checkpoint: as for :func:`fit`.
        halt: as for :func:`fit`.
        gradient_norms: whether rows also have ``gradient_norm``, of the L2 norm before it is clipped.

    Returns:
        Rows as of :func:`fit`.

    Raises:
        MgralError: a loss that is not finite.
    """
    network.train()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = _adamw(weights, plan)
    start, rows = _resume(checkpoint, network, optimizer)
    for step in tqdm(range(start, plan.steps), "training", initial=start, total=plan.steps, disable=None, leave=False):
        rate = learning_rate(step, plan)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = step_losses(step)
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise MgralError(f"training: the loss is {loss.item()} at step {step}; lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        parts = {name: value.item() for name, value in losses.items()}
        rows.append({"step": step, "loss": loss.item(), **parts, "learning_rate": rate})
        if gradient_norms:
            rows[-1]["gradient_norm"] = norm.item()
        if (step + 1) % max(plan.steps // 10, 1) == 0:
            log.info("step %d of %d: loss %.3f", step + 1, plan.steps, loss.item())
        if checkpoint is not None and _due(step + 1, plan):
            _save(checkpoint, network, optimizer, step + 1, rows)
        if halt is not None:
            if halt(step + 1):
                break
            network.train()
    return rows


def _adamw(weights: list[nn.Parameter], plan: TrainingConfig) -> torch.optim.AdamW:
    """AdamW in one kernel a step; torch before 2.4 (the environment of mmdet) has that on GPUs only."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    fused = version >= (2, 4) or all(weight.is_cuda for weight in weights)
    return torch.optim.AdamW(weights, plan.learning_rate, weight_decay=plan.weight_decay, fused=fused)


def _due(step: int, plan: TrainingConfig) -> bool:
    """Whether a checkpoint follows so many steps: every so often, and at the end of a training that is as long."""
    every = plan.checkpoint_every
    return bool(every) and (step % every == 0 or (step == plan.steps and step > every))


def learning_rate(step: int, plan: TrainingConfig) -> float:
    """Linear warm-up to the peak, then half a cosine down to 1 % of it."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    progress = (step - plan.warmup) / max(plan.steps - plan.warmup, 1)
    return plan.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


def draw(ids: Sequence[int], size: int, step: int, seed: int, purpose: str) -> list[int]:
    """The ids of one step's batch: slice ``step`` of one endless run of shuffled epochs."""
    chosen: list[int] = []
    for position in range(step * size, (step + 1) * size):
        epoch, place = divmod(position, len(ids))
        if place == 0 or not chosen:
            order = random_streams.generator(seed, purpose, epoch).permutation(len(ids))
        chosen.append(ids[order[place]])
    return chosen


class ReadAhead:
    """The ids and the pixels of each step's batch, in turn from any first step on. Close it once no more are wanted."""

    def __init__(
        self, cache: Cache, batch_of: Callable[[int], Sequence[int]], steps: int, device: Device | None = None
    ) -> None:
        self._cache, self._batch_of, self._steps = cache, batch_of, steps
        self._empty = None if device is None else lambda count: device.empty(count, cache.size)
        self._next = -1
        self._drawn: deque[Sequence[int]] = deque()
        self._pixels: Generator[Pixels] | None = None

    def of(self, step: int) -> tuple[Sequence[int], Pixels]:
        """[B] and [B, S, S, 3] of one step, 0 … steps - 1. Raises MgralError if a file cannot be read."""
        if self._pixels is None or step != self._next:
            self.close()
            self._drawn.clear()
            self._pixels = self._cache.stream(self._draws(step), self._empty)
        self._next = step + 1
        pixels = next(self._pixels)
        return self._drawn.popleft(), pixels

    def close(self) -> None:
        """End the thread that reads ahead."""
        if self._pixels is not None:
            self._pixels.close()

    def _draws(self, first: int) -> Generator[Sequence[int]]:
        for step in range(first, self._steps):
            self._drawn.append(self._batch_of(step))
            yield self._drawn[-1]


def batch(
    cache: Cache, ids: Sequence[int], plan: TrainingConfig, device: Device, seed: int, step: int, labelled: bool = True
) -> tuple[Tensor, list[Target]]:
    """Images [B, 3, S, S] and targets of one step, augmented if the plan says so; ignored boxes are left out.

    Images that are not ``labelled`` have no targets: nothing is asked of the cache but their pixels.
    """
    chosen = draw(ids, plan.batch_size, step, seed, "order")
    return prepared(cache, chosen, cache.pixels(chosen), plan, device, seed, step, labelled)


def prepared(
    cache: Cache,
    chosen: Sequence[int],
    pixels: Pixels,
    plan: TrainingConfig,
    device: Device,
    seed: int,
    step: int,
    labelled: bool = True,
) -> tuple[Tensor, list[Target]]:
    """What :func:`batch` gives, of images [B] whose pixels [B, S, S, 3] are there."""
    images = device.images(pixels)
    boxes = [cache.boxes(i) for i in chosen] if labelled else []
    if plan.augment:
        generator = random_streams.generator(seed, "augment", step)
        images, boxes = augment(images, boxes, generator, cache.extent(chosen))
    return images.contiguous(memory_format=torch.channels_last), [target(b, device) for b in boxes]


def batch_of_maps(
    backbone_features: BackboneFeatures,
    cache: Cache,
    ids: Sequence[int],
    plan: TrainingConfig,
    device: Device,
    seed: int,
    step: int,
) -> tuple[list[Tensor], list[Target]]:
    """What :func:`batch` gives, as the frozen backbone's maps; with augmentation, half of them mirrored."""
    chosen = draw(ids, plan.batch_size, step, seed, "order")
    mirrored = random_streams.generator(seed, "augment", step).random(len(chosen)) < (0.5 if plan.augment else 0.0)
    boxes = [cache.boxes(i) for i in chosen]
    boxes = [mirror(b, cache.size) if flip else b for b, flip in zip(boxes, mirrored, strict=True)]
    return backbone_features.maps(chosen, mirrored.tolist(), device), [target(b, device) for b in boxes]


def target(boxes: Boxes, device: Device) -> Target:
    """Ground truth as tensors, without ignored boxes."""
    kept = ~boxes.ignore
    xyxy, labels = (
        torch.from_numpy(boxes.xyxy[kept]),
        torch.from_numpy(np.ascontiguousarray(boxes.labels[kept])),
    )
    return Target(xyxy.to(device.torch_device), labels.to(device.torch_device))


def _save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, step: int, rows: list[Row]) -> None:
    state = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "rows": rows}
    write_checkpoint(path, state)


def _resume(path: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[Row]]:
    state = read_checkpoint(path)
    if state is None:
        return 0, []
    network.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    log.info("resuming at step %d from %s", state["step"], path)
    return state["step"], state["rows"]
