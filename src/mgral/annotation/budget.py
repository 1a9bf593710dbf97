"""The budget in boxes or minutes: how many images of a ranking it pays for, by what people did before.

Boxes of an image are predicted from its detections of at least ``annotation.predictions``; minutes from the boxes. Both
are fitted on the images that people have labelled. A count of detections had an error of 20 % over a batch of 20
images, the sum of their scores one of 27 %.

What a cycle leaves over or overdraws is carried to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from mgral.annotation.exchange import Batch, Plan
from mgral.config.annotation import Account
from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.types import Dataset, Detections, Doubles
from mgral.data.pool import Pool

SECONDS_A_BOX = 7.0
"""Before anybody was timed: extreme clicking (Papadopoulos et al. 2017); 35 for two corners (Su et al. 2012)."""
FEWEST = 10  # images of earlier batches from which they alone are the sample, without those of the initial pool
LONGEST = 5.0  # times the median: what took longer was a break
Z90 = 1.645  # of a normal distribution: 90 % lie within ± this many standard deviations


@dataclass(frozen=True)
class Past:
    """What people said of an earlier batch, as ``labels.json`` has it.

    Attributes:
        cycle: whose batch it was.
        plan: what it was expected to cost; None where the budget counted images.
        images: the entries of the images that were asked for.
    """

    cycle: int
    plan: Mapping[str, Any] | None
    images: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> list[Mapping[str, Any]]:
        """The entries of the images that people finished."""
        return [image for image in self.images if image["state"] == "finished"]

    def spent(self, unit: str) -> float:
        """What it has cost: images finished, boxes in their labels, or minutes that the tool has noted."""
        if unit == "images":
            return float(len(self.finished))
        if unit == "boxes":
            return float(sum(len(image["boxes"]) for image in self.finished))
        return float(sum(one["seconds"] or 0.0 for image in self.finished for one in image["people"])) / 60


def read_past(path: str | Path) -> Past:
    """Read ``labels.json``. Raises MgralError if it is none."""
    data: Any = read_json(path)
    try:
        return Past(int(data["cycle"]), data.get("plan"), [image for image in data["images"] if image["asked"]])
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{path}: not the labels of a cycle; run `mgral labels` again") from None


def carried(past: Sequence[Past], unit: str) -> float:
    """What earlier batches with a plan in this unit have left over; negative where they overdrew."""
    return float(sum(one.plan["amount"] - one.spent(unit) for one in past if one.plan and one.plan["unit"] == unit))


def plan(
    batch: Batch,
    account: Account,
    dataset: Dataset,
    pool: Pool,
    detections: Mapping[int, Detections],
    least: float,
    past: Sequence[Past],
) -> Batch:
    """The batch that the budget pays for: the first images of the ranking.

    Args:
        batch: the whole ranking.
        account: unit and amount.
        dataset: of the cycle.
        pool: of the cycle.
        detections: of the cycle's detector, in the labelled and the unlabelled images.
        least: score of a detection that counts.
        past: the batches of all earlier cycles.

    Returns:
        At least one image. In images the budget is ``budget.batch``, and the batch stays as it is.
    """
    if account.amount is None:
        return batch
    counts = [count(detections.get(image.id), least) for image in batch.images]
    known = _pairs(dataset, pool, detections, least, past)
    costs, spread = _boxes(np.array(counts, float), *known)
    if account.unit == "minutes":
        an_image, a_box = _minutes(past)
        costs, spread = an_image + a_box * costs, a_box * spread
    left = carried(past, account.unit)
    totals = np.cumsum(costs)
    images = 1 + int(np.argmin(np.abs(totals - (account.amount + left))))
    expected = float(totals[images - 1])
    margin = Z90 * spread * np.sqrt(images * (1 + images / len(known[0])))  # of the images, and of what was fitted
    made = Plan(
        unit=account.unit,
        amount=account.amount,
        carried=round(left, 3),
        expected=round(expected, 3),
        low=round(max(0.0, expected - margin), 3),
        high=round(expected + margin, 3),
        detections=tuple(counts[:images]),
    )
    return replace(batch, images=batch.images[:images], plan=made)


def count(found: Detections | None, least: float) -> int:
    """Detections of at least a score."""
    return 0 if found is None else int((found.scores >= least).sum())


def _pairs(
    dataset: Dataset, pool: Pool, detections: Mapping[int, Detections], least: float, past: Sequence[Past]
) -> tuple[Doubles, Doubles]:
    """Detections and boxes of images that people have labelled.

    The detector has trained on the images of the pool and finds more there than elsewhere, so earlier batches, with
    the detections of their day, are the better sample.
    """
    pairs = [(image["detections"], len(image["boxes"])) for one in past if one.plan for image in one.finished]
    if len(pairs) < FEWEST:
        pairs += [(count(detections.get(i), least), len(dataset.boxes[i])) for i in pool.labelled]
    seen, drawn = np.array(pairs, float).T
    return seen, drawn


def _boxes(counts: Doubles, seen: Doubles, drawn: Doubles) -> tuple[Doubles, float]:
    """Expected boxes of images with so many detections, a + b·detections, and the standard deviation of one."""
    (a, b), _ = nnls(np.stack([np.ones_like(seen), seen], axis=1), drawn)
    return a + b * counts, float(np.sqrt(np.mean((drawn - a - b * seen) ** 2)))


def _minutes(past: Sequence[Past]) -> tuple[float, float]:
    """Minutes an image and a box: a + b·new + c·accepted boxes, fitted on the tool's seconds of each person."""
    timed = [
        (len(entry["boxes"]), sum(box["origin"] == "prediction" for box in entry["boxes"]), one["seconds"])
        for batch in past
        for entry in batch.finished
        for one in entry["people"]
        if one["seconds"]
    ]
    if len(timed) < FEWEST:
        return 0.0, SECONDS_A_BOX / 60
    drawn, accepted, seconds = np.array(timed, float).T
    seconds = np.minimum(seconds, LONGEST * np.median(seconds))
    (a, b, c), _ = nnls(np.stack([np.ones_like(drawn), drawn - accepted, accepted], axis=1), seconds)
    share = accepted.sum() / max(drawn.sum(), 1.0)
    people = len(timed) / sum(len(batch.finished) for batch in past)
    return float(people * a / 60), float(people * (b * (1 - share) + c * share) / 60)
