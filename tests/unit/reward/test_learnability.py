"""The hint on images in which everything is found where the detector is sure, and nothing where it is not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.types import Boxes, Dataset, Detections, Image
from mgral.reward import learnability
from mgral.reward.learnability import hint


def dataset(count: int) -> Dataset:
    """One box of one class in every image."""
    boxes = Boxes(np.array([[10, 10, 30, 30]], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))
    images = {i: Image(i, f"{i}.jpg", 64, 64, "train") for i in range(1, count + 1)}
    return Dataset(("ant",), images, dict.fromkeys(images, boxes), Path())


def found(score: float, hit: bool) -> Detections:
    """One detection, on the box or beside it."""
    xyxy = np.array([[10, 10, 30, 30] if hit else [40, 40, 60, 60]], np.float32)
    scores = np.array([score], np.float32)
    return Detections(xyxy, scores, np.zeros(1, np.int64), np.stack([1 - scores, scores], axis=1))


def test_nothing_is_found_where_the_detector_is_uncertain() -> None:
    held_out = {i: found(0.99, True) if i <= 5 else found(0.5, False) for i in range(1, 11)}
    said = hint(dataset(10), held_out, "softmax")
    assert said.images == (5, 5)
    assert said.ap50 == pytest.approx((1, 0))
    assert said.deviation == pytest.approx((0, 0))
    assert said.text.endswith("cannot be learnt yet; train longer, or label typical ones.")


def test_everything_is_found() -> None:
    held_out = {i: found(0.99 if i <= 5 else 0.6, True) for i in range(1, 11)}
    said = hint(dataset(10), held_out, "softmax")
    assert said.ap50 == pytest.approx((1, 1))
    assert said.text.endswith("selection by uncertainty should help.")


def test_what_is_near_the_threshold_is_open_and_the_deviation_is_the_jackknife() -> None:
    # of the four uncertain images two are found: precision 1 up to recall 1/2, so AP50 = 51/101
    held_out = {i: found(0.99, True) if i <= 4 else found(0.6, i <= 6) for i in range(1, 9)}
    held_out |= {i: found(0.6 - i / 1000, False) for i in (7, 8)}
    said = hint(dataset(8), held_out, "softmax")
    assert said.ap50[1] == pytest.approx(51 / 101)
    # without one that is found 1 of 3 (34/101), without one that is not 2 of 3 (67/101)
    spread = 4 * (33 / 202) ** 2
    assert said.deviation[1] == pytest.approx(math.sqrt(3 / 4 * spread))
    assert said.text.endswith("whether uncertain images can be learnt yet is open.")


def test_too_few_images_say_so(tmp_path: Path) -> None:
    said = hint(dataset(4), {i: found(0.9, True) for i in range(1, 5)}, "softmax")
    assert (said.ap50, said.deviation) == ((None, None), (None, None))
    assert said.text.startswith("Too few held-out images with boxes (2)")
    learnability.write(said, tmp_path / "hint.json")
    assert read_json(tmp_path / "hint.json")["images"] == [2, 2]
    assert hint(dataset(1), {}, "softmax").images == (0, 0)


def test_an_image_without_annotation_is_named() -> None:
    with pytest.raises(MgralError, match="image 9 is held out, but not annotated"):
        hint(dataset(4), {9: found(0.9, True)}, "softmax")
