"""A training step of the demo's detector, against one that matches image by image and updates weight by weight.

python tests/benchmarks/steps.py. Ten steps of 12 images of 128 pixels, 6 boxes each, without augmentation; processor
time. The convolutions are the same in both. Two more lines: RetinaNet's losses of a batch at once and image by image,
forward and back, and what reading a batch ahead takes of a step, in its thread and beside it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import _measure
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import Matcher, SSDMatcher, _box_loss
from torchvision.ops import box_iou, sigmoid_focal_loss

from mgral.config.schema import Machine
from mgral.core.types import Boxes, Dataset, Image
from mgral.data.image_cache import Cache, Pixels
from mgral.detection import training
from mgral.detection.base import Target, build_detector
from mgral.detection.detectors._ssd import MATCHED, SSD
from mgral.detection.detectors.retinanet.network import RetinaNet
from mgral.detection.device import prepare_device
from mgral.detection.priors import PriorOutput

SIDE, BATCH, IMAGES, OBJECTS, STEPS, REPEATS = 128, 12, 64, 6, 10, 3


def one_by_one(detector: SSD, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
    """Matching by torchvision, for each image."""
    classes, boxes = [], []
    for target in targets:
        matched = SSDMatcher(MATCHED)(box_iou(target.xyxy, detector.priors))
        positive = matched >= 0
        said, wanted = torch.zeros(len(matched), dtype=torch.int64), detector.priors.clone()
        said[positive] = target.labels[matched[positive]] + 1
        wanted[positive] = target.xyxy[matched[positive]]
        classes.append(said)
        boxes.append(wanted)
    return torch.stack(classes), torch.stack(boxes)


def focal_one_by_one(detector: RetinaNet, raw: PriorOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
    """RetinaNet's losses by torchvision's functions, for each image."""
    classification, localisation = [], []
    for logits, offsets, target in zip(raw.logits.float(), raw.offsets.float(), targets, strict=True):
        matched = Matcher(0.5, 0.4, allow_low_quality_matches=True)(box_iou(target.xyxy, detector.priors))
        positive, used = matched >= 0, matched != Matcher.BETWEEN_THRESHOLDS
        wanted = torch.zeros_like(logits)
        wanted[positive, target.labels[matched[positive]]] = 1.0
        count = positive.sum().clamp(min=1)
        classification.append(sigmoid_focal_loss(logits[used], wanted[used], reduction="sum") / count)
        boxes, priors = target.xyxy[matched[positive]], detector.priors[positive]
        localisation.append(_box_loss("l1", detector.coder, priors, boxes, offsets[positive]) / count)
    return {"c": torch.stack(classification).mean(), "l": torch.stack(localisation).mean()}


def losses_of_retinanet(steps: int) -> tuple[float, float]:
    """Seconds a step, ours and image by image: 8 images of 320 pixels, 20 classes, 6 boxes each."""
    side, classes, images = 320, 20, 8
    detector = build_detector("retinanet", tuple(map(str, range(classes))), side, {}, 0)
    assert isinstance(detector, RetinaNet)
    draw = torch.Generator().manual_seed(0)
    targets = []
    for _ in range(images):
        corner = torch.rand(OBJECTS, 2, generator=draw) * 0.6 * side
        xyxy = torch.cat([corner, corner + 10 + 100 * torch.rand(OBJECTS, 2, generator=draw)], 1)
        targets.append(Target(xyxy, torch.randint(0, classes, (OBJECTS,), generator=draw)))
    logits = torch.randn(images, len(detector.priors), classes, generator=draw) - 4
    offsets = torch.randn(images, len(detector.priors), 4, generator=draw)

    def seconds(losses: Callable[[PriorOutput, Sequence[Target]], dict[str, Tensor]]) -> float:
        start = time.process_time()
        for _ in range(steps):
            raw = PriorOutput(logits.requires_grad_(), offsets.requires_grad_(), [])
            torch.stack(list(losses(raw, targets).values())).sum().backward()
            logits.grad = offsets.grad = None
        return (time.process_time() - start) / steps

    plain = functools.partial(focal_one_by_one, detector)
    both = [(seconds(detector.losses), seconds(plain)) for _ in range(REPEATS)]
    return min(ours for ours, _ in both), min(theirs for _, theirs in both)


def reading(cache: Cache, dataset: Dataset, steps: int) -> tuple[float, float]:
    """Seconds of processor time a batch: read ahead by a thread, and taken from the mapped file."""
    batches = [training.draw(list(dataset.images), BATCH, step, 0, "order") for step in range(20 * steps)]

    def seconds(read: Callable[[], Iterable[Pixels]]) -> float:
        start = time.process_time()
        for pixels in read():
            assert len(pixels) == BATCH
        return (time.process_time() - start) / len(batches)

    ways: list[Callable[[], Iterable[Pixels]]] = [lambda: cache.stream(batches), lambda: map(cache.pixels, batches)]
    ahead, mapped = (min(seconds(way) for _ in range(REPEATS)) for way in ways)
    return ahead, mapped


def plain_adamw(weights: list[nn.Parameter], plan: training.TrainingConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(weights, plan.learning_rate, weight_decay=plan.weight_decay, foreach=False, fused=False)


def world(folder: Path) -> tuple[Dataset, Cache]:
    rng = np.random.default_rng(0)
    images = {i: Image(i, f"{i}.jpg", SIDE, SIDE, "train") for i in range(1, IMAGES + 1)}
    boxes = {}
    for i in images:
        corner, side = rng.uniform(0, 0.6 * SIDE, (OBJECTS, 2)), rng.uniform(10, 50, (OBJECTS, 2))
        xyxy = np.hstack([corner, corner + side]).astype(np.float32)
        boxes[i] = Boxes(xyxy, rng.integers(0, 5, OBJECTS), np.zeros(OBJECTS, np.bool_))
    np.save(folder / "images.npy", rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8))
    dataset = Dataset(tuple("abcde"), images, boxes, folder)
    return dataset, Cache(dataset, folder / "images.npy")


def main() -> None:
    steps = 1 if _measure.small(__doc__ or "", threads=1) else STEPS
    machine = prepare_device(Machine(device="cpu", threads=1, precision="fp32"))
    with TemporaryDirectory() as name:
        dataset, cache = world(Path(name))

        def seconds(count: int) -> float:
            detector = build_detector("tiny_ssd", dataset.classes, SIDE, {}, 0)
            plan = training.TrainingConfig(count, BATCH, 0.002, 0.0005, 5, augment=False)
            start = time.process_time()
            training.fit(detector, cache, list(dataset.images), plan, machine, 0)
            return time.process_time() - start

        def best(work: Callable[[int], float]) -> float:
            return min(work(1 + steps) - work(1) for _ in range(REPEATS)) / steps

        seconds(2)
        ours = best(seconds)
        with patch.object(SSD, "match", one_by_one), patch.object(training, "_adamw", plain_adamw):
            plain = best(seconds)
        ahead, mapped = reading(cache, dataset, steps)
    batched, focal = losses_of_retinanet(steps)
    print(f"a step of {BATCH} images: {ours * 1000:.1f} ms; matched and updated one by one: {plain * 1000:.1f} ms")
    print(f"RetinaNet's losses, 8 images of 320 pixels: {batched * 1000:.0f} ms; image by image: {focal * 1000:.0f} ms")
    print(
        f"a batch read ahead: {ahead * 1000:.2f} ms, {ahead / ours:.2%} of a step; from the mapped file, in the step: "
        f"{mapped * 1000:.2f} ms"
    )
    _measure.last_line(plain / ours, ours, _measure.peak_mib())


if __name__ == "__main__":
    main()
