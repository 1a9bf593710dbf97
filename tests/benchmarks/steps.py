"""A training step of the demo's detector, against one that matches image by image and updates weight by weight.

python tests/benchmarks/steps.py. Ten steps of 12 images of 128 pixels, 6 boxes each, without augmentation; processor
time. The convolutions are the same in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import _measure
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from mgral.config.schema import Machine
from mgral.core.types import Boxes, Dataset, Image
from mgral.data.image_cache import Cache
from mgral.detection import training
from mgral.detection.base import Target, build_detector
from mgral.detection.detectors._ssd import MATCHED, SSD
from mgral.detection.device import prepare_device

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
    print(f"a step of {BATCH} images: {ours * 1000:.1f} ms; matched and updated one by one: {plain * 1000:.1f} ms")
    _measure.last_line(plain / ours, ours, _measure.peak_mib())


if __name__ == "__main__":
    main()
