"""How long should the first detector be trained, and can labels help it? Real trainings of the first pool say.

One training each, so differences below the spread between trainings of one pool (noise.json, often .01 to .02 mAP)
say nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mgral.core import random_streams
from mgral.core.types import Dataset
from mgral.data.pool import Pool
from mgral.detection.average_precision import evaluate
from mgral.detection.trainers import Trainer

DOUBLINGS = 3  # of the steps, at most
WORTH = 1.05  # a doubling that raises the mAP by less than this factor is the last one
ENOUGH = 0.95  # share of the best mAP that the proposed steps reach
BLIND = 0.05  # mAP on val below which a detector finds next to nothing
SATURATED = 0.97  # share of the mAP that half of the images reach where labels have stopped to help


@dataclass(frozen=True)
class Trial:
    """One training of the first detector.

    Attributes:
        steps: of gradient descent.
        images: labelled ones that it was trained on.
        mAP: on val, 0..1; ``AP50`` likewise, at an overlap of 0.5.
    """

    steps: int
    images: int
    mAP: float
    AP50: float


def run(
    trainer: Callable[[int], Trainer], dataset: Dataset, pool: Pool, steps: int, max_detections: int, seed: int
) -> list[Trial]:
    """Train for ``steps``, twice as many and so on until that hardly helps; then half of the images at the best steps.

    Args:
        trainer: a fresh one that trains for so many steps.
        dataset: ground truth.
        pool: the first one of the experiment.
        steps: of the experiment (``training.steps``).
        max_detections: per image and class (``evaluation.max_detections``).
        seed: of the experiment; all trials begin with the same weights.

    Returns:
        The trials in the order in which they ran. The last one has half of the images; it is left out where that would
        be fewer than two.

    Raises:
        MgralError: there is no ground truth in val, or a training fails.
    """
    labelled, val = pool.labelled_ids, dataset.ids("val")
    start = random_streams.stream(seed, "train", pool.cycle)

    def trial(count: int, ids: Sequence[int]) -> Trial:
        chosen = trainer(count)
        with tempfile.TemporaryDirectory() as folder:
            chosen.train(ids, start, Path(folder) / "checkpoint")
        found = evaluate(dataset, chosen.infer(val, embed=False).detections, val, max_detections)
        return Trial(count, len(ids), found["mAP"], found["AP50"])

    trials = [trial(steps, labelled)]
    for doubling in range(1, DOUBLINGS + 1):
        trials.append(trial(steps * 2**doubling, labelled))
        if trials[-1].mAP < WORTH * trials[-2].mAP:
            break
    if len(labelled) >= 4:
        random = random_streams.generator(seed, "probe")
        half = sorted(random.choice(labelled, len(labelled) // 2, replace=False).tolist())
        trials.append(trial(proposed(trials), half))
    return trials


def proposed(trials: Sequence[Trial]) -> int:
    """The fewest steps that reach :data:`ENOUGH` of the best mAP among the trials with all images."""
    whole = _whole(trials)
    best = max(one.mAP for one in whole)
    return min(one.steps for one in whole if one.mAP >= ENOUGH * best)


def findings(trials: Sequence[Trial]) -> list[str]:
    """What the trials say, a sentence a line: the steps to train for, and whether labels can help.

    Args:
        trials: as :func:`run` returns them.
    """
    whole = _whole(trials)
    steps = proposed(trials)
    at = next(one for one in whole if one.steps == steps)
    best = max(one.mAP for one in whole)
    if best < BLIND:
        return [
            f"the first detector is blind: mAP {best:.3f} on val at best, after up to {whole[-1].steps} steps; choose "
            "no batch by it: raise budget.initial or image_size, or start from pretrained weights"
        ]
    lines = [f"training.steps: {steps} (mAP {at.mAP:.3f} on val, {best:.3f} at best)"]
    if steps == whole[-1].steps:
        lines[0] += "; the mAP still rises there, more steps may pay"
    halves = [one for one in trials if one.images < whole[0].images]
    if halves and halves[0].mAP >= SATURATED * at.mAP:
        lines.append(
            f"saturated: {halves[0].images} images give mAP {halves[0].mAP:.3f}, all {at.images} give {at.mAP:.3f}; "
            "more labels can hardly help this detector: lower budget.initial, or use a larger detector or image_size"
        )
    elif halves:
        lines.append(
            f"labels help: {halves[0].images} images give mAP {halves[0].mAP:.3f}, all {at.images} give {at.mAP:.3f}"
        )
    return lines


def as_json(trials: Sequence[Trial]) -> dict[str, Any]:
    """The content of ``probe.json``."""
    return {"trials": [asdict(one) for one in trials], "steps": proposed(trials), "findings": findings(trials)}


def _whole(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with all images, in their order."""
    images = max(one.images for one in trials)
    return [one for one in trials if one.images == images]
