"""Is the data fit for the experiment? What would make the first detector blind, found before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mgral.config.schema import Params
from mgral.core.types import Dataset, Doubles
from mgral.data.box_sizes import sides
from mgral.data.fitness import classes, unmeasurable
from mgral.data.pool import shortage
from mgral.data.resizing import Resizing

MOST_OUTSIDE = 0.2  # share of boxes beyond the priors that is worth a warning
REACH = 1.5  # a prior suits boxes whose side is up to so many times smaller or larger: IoU of squares 0.44
FEWEST_EPOCHS = 10  # passes over the initial pool below which a detector has hardly learnt


def findings(params: Params, dataset: Dataset, priors: Doubles | None) -> list[str]:
    """What is likely to go wrong, a line each with the remedy; empty where nothing is.

    Args:
        params: the experiment.
        dataset: what it would run on.
        priors: [P, 4] xyxy of the detector, pixels of its input; None for one without priors.
    """
    nothing = [what] if (what := unmeasurable(dataset)) else []
    doubtful = [*_sizes(params, dataset, priors), *_steps(params, dataset), *_budget(params, dataset)]
    return [*nothing, *classes(dataset), *doubtful]


def _sizes(params: Params, dataset: Dataset, priors: Doubles | None) -> Iterator[str]:
    """Sides √(width · height) of the boxes of train against those of the priors."""
    resizing = Resizing.of(params.resize, params.image_size, params.longest_edge)
    boxes = sides(dataset, resizing)["train"]
    if not len(boxes) or priors is None or not len(priors):
        return
    own = np.sqrt((priors[:, 2] - priors[:, 0]) * (priors[:, 3] - priors[:, 1]))
    low, high = float(own.min()), float(own.max())
    small, large = float(np.mean(boxes < low / REACH)), float(np.mean(boxes > high * REACH))
    median = f"median box {np.median(boxes):.0f} pixels, priors {low:.0f} to {high:.0f}"
    if small > MOST_OUTSIDE:
        yield (
            f"{small:.0%} of the boxes of train are too small for the detector at image_size {params.image_size} "
            f"({median}); raise image_size or use smaller priors"
        )
    if large > MOST_OUTSIDE:
        yield (
            f"{large:.0%} of the boxes of train are too large for the detector at image_size {params.image_size} "
            f"({median}); use larger priors"
        )


def _steps(params: Params, dataset: Dataset) -> Iterator[str]:
    images = _annotated(dataset) if params.budget.initial == "all" else params.budget.initial
    training = params.training
    epochs = training.steps * training.batch_size / max(1, images)
    if epochs < FEWEST_EPOCHS:
        needed = -(-FEWEST_EPOCHS * images // training.batch_size)
        yield (
            f"training.steps: {training.steps} steps of {training.batch_size} images show each initial image only "
            f"{epochs:.1f} times; raise it to {needed} or more"
        )
    if training.warmup >= training.steps:
        yield f"training.warmup: {training.warmup} steps are not fewer than training.steps, {training.steps}; lower it"


def _budget(params: Params, dataset: Dataset) -> Iterator[str]:
    pool, initial, batch = len(dataset.ids("train")), params.budget.initial, params.budget.batch
    if initial == "all":
        left = pool - _annotated(dataset)
        if params.oracle.kind == "people" and params.budget.unit == "images" and left <= batch:
            yield (
                f"budget.batch: {left} images of train are not annotated, so that a batch of {batch} leaves no choice; "
                "lower it or add images"
                if left
                else "budget.batch: all images of train count as annotated, so there is nothing to ask for; add "
                "images, or see dataset.unlisted and dataset.options.missing"
            )
        return
    needed = initial + (params.cycles - 1) * batch
    if what := shortage(pool, initial, batch, params.cycles):
        yield what
    elif needed > 0.8 * pool and params.cycles > 1:
        yield (
            f"budget: the last batch is drawn when few of the {pool} images of train are left ({needed} labelled at "
            "the end), so that strategies can hardly differ; lower the budget"
        )


def _annotated(dataset: Dataset) -> int:
    return sum(i in dataset.boxes for i in dataset.ids("train"))
