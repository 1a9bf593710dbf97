"""The budget in boxes and minutes, with numbers that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgral.annotation import budget, exchange, labels
from mgral.annotation.budget import Past
from mgral.annotation.exchange import Batch, BatchImage, Plan
from mgral.annotation.labels import Outcome, Settled
from mgral.config.annotation import Account
from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.core.types import Boxes, Dataset, Detections, Image
from mgral.data.pool import Pool

BOXES = Account(unit="boxes", amount=10)


def image(id: int) -> BatchImage:
    return BatchImage(id, f"{id}.jpg", 64, 64, f"{id:064x}", id)


def batch(ids: range, plan: Plan | None = None) -> Batch:
    return Batch("mine", 0, ("ant",), Path("set"), tuple(map(image, ids)), plan)


def found(count: int) -> Detections:
    scores = np.array([0.9] * count + [0.1], np.float32)
    distributions = np.zeros((count + 1, 2), np.float32)
    return Detections(np.zeros((count + 1, 4), np.float32), scores, np.zeros(count + 1, int), distributions)


def drawn(count: int) -> Boxes:
    return Boxes(np.tile(np.array([[1, 2, 3, 4]], np.float32), (count, 1)), np.zeros(count, int), np.zeros(count, bool))


def labelled(pairs: list[tuple[int, int]]) -> tuple[Dataset, Pool, dict[int, Detections]]:
    """A data set whose images 101, … have so many detections and boxes; 1 to 9 wait, with 2 detections each."""
    ids = [*range(1, 10), *range(101, 101 + len(pairs))]
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in ids}
    boxes = {101 + k: drawn(pair[1]) for k, pair in enumerate(pairs)}
    detections = {101 + k: found(pair[0]) for k, pair in enumerate(pairs)} | {i: found(2) for i in range(1, 10)}
    return (
        Dataset(("ant",), images, boxes, Path("set")),
        Pool(0, dict.fromkeys(boxes, 0), tuple(range(1, 10))),
        detections,
    )


def said(boxes: int, seconds: float | None = None, origin: str = "manual", state: str = "finished") -> dict[str, Any]:
    """An entry of labels.json, of an image with two detections."""
    made = {"boxes": [{"origin": origin}] * boxes, "people": [{"seconds": seconds}]}
    return {"asked": True, "state": state, "detections": 2, **made}


def planned(**of: Any) -> Plan:
    return Plan(**{"unit": "boxes", "amount": 10.0, "carried": 0.0, "expected": 10.0, "low": 5.0, "high": 15.0} | of)


PLANNED = planned(detections=()).summary


def test_the_first_images_that_the_budget_pays_for() -> None:
    """1.5 boxes a detection, so 3 an image: three images have 9 boxes, four would have 12."""
    dataset, pool, detections = labelled([(2, 3), (4, 6), (2, 3)])
    cut = budget.plan(batch(range(1, 10)), BOXES, dataset, pool, detections, 0.3, [])
    assert [one.id for one in cut.images] == [1, 2, 3]
    assert cut.plan == planned(amount=10.0, expected=9.0, low=9.0, high=9.0, detections=(2, 2, 2))


def test_the_interval_is_that_of_the_images_and_of_the_fit() -> None:
    """All with 2 detections, and 2 or 4 boxes: mean 3, standard deviation 1; 3 images, fitted on 4."""
    dataset, pool, detections = labelled([(2, 2), (2, 4), (2, 2), (2, 4)])
    made = budget.plan(batch(range(1, 10)), BOXES, dataset, pool, detections, 0.3, []).plan
    assert made is not None
    margin = 1.645 * (3 * (1 + 3 / 4)) ** 0.5
    assert (made.expected, made.low, made.high) == (9.0, round(9 - margin, 3), round(9 + margin, 3))


def test_a_budget_in_images_leaves_the_batch_as_it_is() -> None:
    dataset, pool, detections = labelled([(2, 3)])
    whole = batch(range(1, 10))
    assert budget.plan(whole, Account(), dataset, pool, detections, 0.3, []) is whole


def test_at_least_one_image_and_at_most_the_ranking() -> None:
    dataset, pool, detections = labelled([(2, 3), (4, 6)])
    for amount, images in ((0.1, 1), (1000, 9)):
        account = Account(unit="boxes", amount=amount)
        assert len(budget.plan(batch(range(1, 10)), account, dataset, pool, detections, 0.3, []).images) == images


def test_what_a_cycle_leaves_over_is_carried_to_the_next() -> None:
    """Planned 10; image 1 has 3 boxes and 2 has 4, image 3 was skipped: 3 are left, and 13 are planned."""
    past = Past(0, PLANNED, [said(3, 30.0), said(4, 60.0), said(0, state="skipped")])
    assert [past.spent(unit) for unit in ("images", "boxes", "minutes")] == [2, 7, 1.5]
    assert budget.carried([past], "boxes") == 3
    assert budget.carried([past], "minutes") == 0  # of another unit
    dataset, pool, detections = labelled([(2, 3), (4, 6)])
    cut = budget.plan(batch(range(4, 10)), BOXES, dataset, pool, detections, 0.3, [past])
    assert cut.plan is not None and cut.plan.carried == 3
    assert len(cut.images) == 4  # 13 boxes, at 3.2 an image


def test_ten_images_of_earlier_batches_are_the_sample() -> None:
    """The detector finds less there than in images that it has trained on."""
    past = Past(0, PLANNED, [said(5)] * 10)
    dataset, pool, detections = labelled([(2, 2)] * 30)
    account = Account(unit="boxes", amount=60)
    made = budget.plan(batch(range(1, 10)), account, dataset, pool, detections, 0.3, [past]).plan
    assert made is not None and made.carried == -40
    assert made.expected == pytest.approx(20)  # 60 - 40, at 5 an image


def test_minutes_before_and_after_anybody_was_timed() -> None:
    dataset, pool, detections = labelled([(2, 3), (4, 6)])
    account = Account(unit="minutes", amount=1.0)
    first = budget.plan(batch(range(1, 10)), account, dataset, pool, detections, 0.3, [])
    assert [one.id for one in first.images] == [1, 2, 3]  # 21 seconds each
    # 10 s an image, 20 a new box, 5 an accepted one; one break of an hour, which is held at 5 medians
    timed = [said(i % 3, 10.0 + 20 * (i % 3)) for i in range(30)]
    timed += [said(i % 3, 10.0 + 5 * (i % 3), "prediction") for i in range(30)]
    past = Past(0, None, timed)
    an_image, a_box = budget._minutes([past])
    assert (an_image * 60, a_box * 60) == pytest.approx((10, 12.5))  # half of the boxes were accepted
    timed[1] = said(1, 3600.0)
    an_image, a_box = budget._minutes([past])
    assert (an_image + a_box) * 60 < 30


def test_the_labels_of_a_cycle_hold_what_was_planned(tmp_path: Path) -> None:
    one = batch(range(1, 3), planned(detections=(1, 2)))
    exchange.write_batch(one, tmp_path / "manifest.json")
    assert exchange.read_batch(tmp_path / "manifest.json") == one
    images = {1: Settled(1, True, "untouched"), 2: Settled(2, True, "finished"), 7: Settled(7, False, "finished")}
    labels.write(one, Outcome(images, {}), tmp_path / "labels.json")
    past = budget.read_past(tmp_path / "labels.json")
    assert past.plan == PLANNED
    assert [(image["id"], image["detections"]) for image in past.images] == [(1, 1), (2, 2)]
    assert past.spent("images") == 1
    write_json(tmp_path / "labels.json", {"images": []})
    with pytest.raises(MgralError, match="not the labels of a cycle"):
        budget.read_past(tmp_path / "labels.json")
