"""The probe: which trainings it makes, and what it says of them, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgral.core.types import Boxes, Dataset, Detections, Image
from mgral.data.pool import Pool
from mgral.planning import probe
from mgral.planning.probe import Trial


def trials(*levels: float, half: float | None = None, images: int = 10) -> list[Trial]:
    """Trials of 100, 200, 400, … steps with these mAPs, and one with half of the images."""
    found = [Trial(100 * 2**k, images, level, level) for k, level in enumerate(levels)]
    return found if half is None else [*found, Trial(probe.proposed(found), images // 2, half, half)]


@pytest.mark.parametrize(
    ("levels", "steps"),
    [
        ((0.20, 0.21), 100),  # 0.20 ≥ .95 · .21
        ((0.10, 0.20, 0.205), 200),  # 0.20 ≥ .95 · .205, 0.10 is not
        ((0.10, 0.20, 0.30, 0.40), 800),
        ((0.30, 0.20), 100),  # longer was worse
    ],
)
def test_the_fewest_steps_that_nearly_reach_the_best_are_proposed(levels: tuple[float, ...], steps: int) -> None:
    assert probe.proposed(trials(*levels)) == steps


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (trials(0.01, 0.04), ["the first detector is blind: mAP 0.040 on val at best, after up to 200 steps"]),
        (trials(0.20, 0.205), ["training.steps: 100 (mAP 0.200 on val, 0.205 at best)"]),
        (trials(0.1, 0.2, 0.3, 0.4), ["training.steps: 800 (mAP 0.400 on val, 0.400 at best); the mAP still rises"]),
        # 0.195 ≥ .97 · .2 = .194
        (trials(0.20, 0.20, half=0.195), ["training.steps: 100", "saturated: 5 images give mAP 0.195, all 10 give"]),
        (trials(0.20, 0.20, half=0.190), ["training.steps: 100", "labels help: 5 images give mAP 0.190, all 10 give"]),
    ],
)
def test_each_outcome_has_its_sentence(found: list[Trial], says: list[str]) -> None:
    lines = probe.findings(found)
    assert len(lines) == len(says)
    for line, begin in zip(lines, says, strict=True):
        assert line.startswith(begin)


@dataclass
class Threshold:
    """A trainer whose detector finds the first ``steps`` / 100 boxes of val, at most ``limit``; it keeps its calls."""

    dataset: Dataset
    limit: int
    steps: int
    calls: list[tuple[int, list[int], int]] = field(default_factory=list)
    activation: Any = "softmax"

    def train(self, labelled: Sequence[int], seed: int, checkpoint: Path) -> list[dict[str, float]]:
        self.calls.append((self.steps, list(labelled), seed))
        return []

    def infer(self, ids: Sequence[int], embed: bool = True) -> Any:
        count = min(self.steps // 100, self.limit)
        found = {}
        for place, i in enumerate(ids):
            boxes = self.dataset.boxes[i] if place < count else Boxes.empty()
            scores = np.ones(len(boxes), np.float32)
            probabilities = np.tile(np.array([[0.0, 1.0]], np.float32), (len(boxes), 1))
            found[i] = Detections(boxes.xyxy, scores, boxes.labels, probabilities)
        return type("Views", (), {"detections": found})

    def save(self, path: Path) -> None: ...

    def load(self, path: Path, folder: Path) -> None: ...


def small() -> Dataset:
    """Ten images in train and eight in val, each with one box of the one class."""
    images = {i: Image(i, f"{i}.png", 64, 64, "train" if i <= 10 else "val") for i in range(1, 19)}
    box = Boxes(np.array([[8, 8, 40, 40]], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    return Dataset(("square",), images, dict.fromkeys(images, box), Path())


def tried(limit: int, labelled: Sequence[int] = range(1, 11)) -> tuple[list[Trial], list[tuple[int, list[int], int]]]:
    dataset = small()
    calls: list[tuple[int, list[int], int]] = []
    pool = Pool(0, dict.fromkeys(labelled, 0), ())
    found = probe.run(lambda steps: Threshold(dataset, limit, steps, calls), dataset, pool, 100, 100, seed=3)
    return found, calls


def test_steps_double_until_that_brings_nothing_then_half_of_the_images_are_tried() -> None:
    found, calls = tried(limit=2)
    # one of eight boxes: recall 0.125 reaches 13 of COCO's 101 levels; two: 0.25, 26 of them
    assert [(one.steps, one.images, round(one.mAP * 101)) for one in found] == [
        *[(100, 10, 13), (200, 10, 26), (400, 10, 26)],
        (200, 5, 26),
    ]
    assert [steps for steps, _, _ in calls] == [100, 200, 400, 200]
    assert len({seed for _, _, seed in calls}) == 1  # all begin with the same weights
    half = calls[-1][1]
    assert len(half) == 5
    assert half == sorted(set(half) & set(range(1, 11)))
    assert probe.findings(found)[1].startswith("saturated")


def test_steps_double_three_times_at_most() -> None:
    assert [one.steps for one in tried(limit=8)[0]] == [100, 200, 400, 800, 800]


def test_three_images_are_not_halved() -> None:
    assert {one.images for one in tried(limit=1, labelled=[1, 2, 3])[0]} == {3}
