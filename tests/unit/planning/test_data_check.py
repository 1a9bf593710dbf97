"""Warnings about data, worked out by hand: each from one fault, and none without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mgral.config import loading
from mgral.config.schema import Params
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import box_sizes
from mgral.data.resizing import Resizing
from mgral.planning import data_check

ROOT = Path(__file__).resolve().parents[3]
PRIORS = np.array([[0.0, 0, 16, 16], [0, 0, 40, 40]])


def params(**changes: object) -> Params:
    """params/base.yaml with 3 cycles of 10 images on images of 100 × 100 pixels, 100 steps of 4 images."""
    base = loading.read([ROOT / "params/base.yaml"]).model_dump(mode="json")
    base["image_size"] = 100
    base["cycles"] = 3
    base["budget"] = {"initial": 20, "batch": 10}
    base["training"].update({"steps": 100, "batch_size": 4, "warmup": 5})
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) else value
    return Params.parse(base, "test:")


def dataset(side: float = 20, classes: tuple[int, ...] = (0, 1), train: int = 60) -> Dataset:
    """Images of 200 × 200 pixels with one box of ``side`` pixels a class; 5 in val and in test."""
    images, truth = {}, {}
    for i in range(1, train + 11):
        split = "train" if i <= train else "val" if i <= train + 5 else "test"
        images[i] = Image(i, f"{i}.jpg", 200, 200, split)
        labels = np.array(classes if split == "val" else (0, 1), np.int64)
        corners = np.tile(np.array([[0, 0, side, side]], np.float32), (len(labels), 1))
        truth[i] = Boxes(corners, labels, np.zeros(len(labels), bool))
    return Dataset(("cat", "dog"), images, truth, Path())


def test_sizes_are_those_of_the_input() -> None:
    # boxes of 40 pixels in images of 200, at an input of 100: 20
    assert box_sizes.sides(dataset(side=40), Resizing("squash", 100))["train"] == pytest.approx(np.full(120, 20.0))


def test_a_fit_data_set_has_no_findings() -> None:
    assert data_check.findings(params(), dataset(side=40), PRIORS) == []


@pytest.mark.parametrize(
    ("changes", "data", "says"),
    [
        # 20 of 200 pixels are 10 of 100, below 16/1.5 = 10.7
        ({}, {"side": 20}, "100% of the boxes of train are too small for the detector at image_size 100"),
        # 130 of 200 are 65 of 100, above 40 · 1.5 = 60
        ({}, {"side": 130}, "100% of the boxes of train are too large"),
        ({}, {"side": 40, "classes": (0,)}, "val: no boxes of dog: such a class has no AP there"),
        # 40 · 4/20 = 8 times; 10 · 20/4 = 50
        ({"training": {"steps": 40}}, {"side": 40}, "show each initial image only 8.0 times; raise it to 50 or more"),
        ({"training": {"warmup": 100}}, {"side": 40}, "training.warmup: 100 steps are not fewer"),
        ({}, {"side": 40, "train": 39}, "2 batches of 10 need 40 images, but train has 39"),
        ({}, {"side": 40, "train": 45}, "few of the 45 images of train are left (40 labelled"),
    ],
)
def test_each_fault_is_one_finding(changes: dict[str, object], data: dict[str, object], says: str) -> None:
    (found,) = data_check.findings(params(**changes), dataset(**data), PRIORS)  # type: ignore[arg-type]
    assert says in found


def test_unknown_priors_are_not_judged() -> None:
    assert data_check.findings(params(), dataset(side=20), None) == []


PEOPLE = {"oracle": "people", "seeds": [0], "strategies": ["entropy"]}


def test_of_a_partly_annotated_set_only_annotated_images_are_shown_first() -> None:
    """100 steps of 4 images show 40 images 10 times; those that nobody annotated yet are not among them."""
    whole = dataset(side=40)
    partly = replace(whole, boxes={i: boxes for i, boxes in whole.boxes.items() if i > 20})
    everything = {"initial": "all", "batch": 10}
    assert data_check.findings(params(**PEOPLE, budget=everything), partly, PRIORS) == []
    (found,) = data_check.findings(params(budget=everything), whole, PRIORS)
    assert "show each initial image only 6.7 times" in found


def test_a_batch_of_people_must_leave_a_choice() -> None:
    whole = dataset(side=40)
    partly = replace(whole, boxes={i: boxes for i, boxes in whole.boxes.items() if i > 20})
    asked = {**PEOPLE, "budget": {"initial": "all", "batch": 20}}
    (found,) = data_check.findings(params(**asked), partly, PRIORS)
    assert found.startswith("budget.batch: 20 images of train are not annotated, so that a batch of 20 leaves")
    training = {"steps": 200}
    (found,) = data_check.findings(params(**asked, training=training), whole, PRIORS)
    assert found.startswith("budget.batch: all images of train count as annotated")


def test_what_the_import_refuses_is_found_before_it() -> None:
    whole = dataset(side=40)
    bare = replace(whole, boxes={i: boxes for i, boxes in whole.boxes.items() if i <= 65})
    assert "no annotated image in split test" in data_check.findings(params(), bare, PRIORS)[0]
