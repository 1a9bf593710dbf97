"""The hint: can the detector learn yet from the images that it is uncertain of?

Selecting by uncertainty helps where the detector can use what it picks, and hurts where it cannot. A detector that was
trained on a part of the labelled images (replay) is evaluated on the held-out ones of the higher entropy. On two real
sets on which entropy was below random its AP50 there was 0.02 to 0.37, on two generated ones on which entropy was above
random 0.49 to 0.73. The threshold between them was seen after the fact; docs/claims.md says how it is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.core.types import Activation, Dataset, Detections
from mgral.detection.average_precision import evaluate
from mgral.detection.uncertainty import pool_entropies

THRESHOLD = 0.43  # AP50
FEWEST = 4  # images with boxes in a half, for an AP50 and its uncertainty
CLEAR = 2.0  # deviations from the threshold


@dataclass(frozen=True)
class Hint:
    """What the held-out images say.

    Attributes:
        images: held-out images with boxes in each half, the lower entropy first.
        ap50: in each half, 0..1; None where it has too few images.
        deviation: standard deviation of each by the jackknife over its images; None likewise.
        threshold: AP50 of the higher half above which uncertain images can be learnt.
        text: one plain sentence.
    """

    images: tuple[int, int]
    ap50: tuple[float | None, float | None]
    deviation: tuple[float | None, float | None]
    threshold: float
    text: str


def hint(
    dataset: Dataset, held_out: Mapping[int, Detections], activation: Activation, max_detections: int = 100
) -> Hint:
    """Evaluate the replay detector on the halves of lower and higher entropy of the held-out images.

    An odd image counts to the lower half; of equal entropies the smaller ids do.

    Args:
        dataset: ground truth.
        held_out: what the replay detector finds in the images that were held out from it.
        activation: of that detector.
        max_detections: per image, see :func:`mgral.detection.average_precision.evaluate`.

    Raises:
        MgralError: a held-out image is not annotated, or a detection is not finite.
    """
    ids = sorted(held_out)
    unknown = [i for i in ids if i not in dataset.boxes]
    if unknown:
        raise MgralError(f"image {unknown[0]} is held out, but not annotated; run `mgral replay-split` again")
    order = np.argsort(pool_entropies(ids, held_out, activation), kind="stable")
    middle = (len(ids) + 1) // 2
    halves = [[ids[k] for k in rows] for rows in (order[:middle], order[middle:])]
    low, high = (_ap50(dataset, held_out, half, max_detections) for half in halves)
    with_boxes = [sum((~dataset.boxes[i].ignore).any() for i in half) for half in halves]
    images = (int(with_boxes[0]), int(with_boxes[1]))
    return Hint(images, (low[0], high[0]), (low[1], high[1]), THRESHOLD, _text(images[1], *high))


def write(found: Hint, path: Path) -> None:
    """Write ``hint.json``."""
    write_json(path, asdict(found))


def _ap50(
    dataset: Dataset, found: Mapping[int, Detections], half: list[int], max_detections: int
) -> tuple[float | None, float | None]:
    """AP50 and its standard deviation by the jackknife: (n - 1) / n · Σ (AP50 without image i - their mean)²."""
    with_boxes = {i for i in half if (~dataset.boxes[i].ignore).any()}
    if len(with_boxes) < FEWEST:
        return None, None
    value = evaluate(dataset, found, half, max_detections)["AP50"]
    without = np.array([evaluate(dataset, found, [j for j in half if j != i], max_detections)["AP50"] for i in half])
    count = len(half)
    return value, float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))


def _text(images: int, value: float | None, deviation: float | None) -> str:
    """One plain sentence about the half of the higher entropy."""
    if value is None or deviation is None:
        return f"Too few held-out images with boxes ({images}) to say whether uncertain images can be learnt yet."
    found = (
        f"AP50 on the uncertain half of the held-out images is {value:.2f} ± {deviation:.2f} (threshold {THRESHOLD})"
    )
    if value + CLEAR * deviation < THRESHOLD:
        return f"{found}: uncertain images cannot be learnt yet; train longer, or label typical ones."
    if value - CLEAR * deviation > THRESHOLD:
        return f"{found}: uncertain images can be learnt, so selection by uncertainty should help."
    return f"{found}: whether uncertain images can be learnt yet is open."
