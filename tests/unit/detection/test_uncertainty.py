"""Entropy of detections whose probabilities are round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mgral.core.errors import MgralError
from mgral.core.types import Activation, Detections
from mgral.detection.uncertainty import (
    Aggregate,
    Empty,
    confident,
    detection_entropies,
    image_entropy,
    pool_entropies,
)

LOG2 = math.log(2)
SURE, HALF, EVEN = [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0.25, 0.25, 0.25, 0.25]  # entropies 0, log 2, 2 log 2


def softmax(*rows: Sequence[float]) -> Detections:
    """Detections from softmax rows, background first; label and score are those of the likeliest class."""
    probs = np.array(rows, np.float32).reshape(-1, 4)
    labels = probs[:, 1:].argmax(axis=1).astype(np.int64) if rows else np.zeros(0, np.int64)
    scores = probs[:, 1:].max(axis=1, initial=0)
    return Detections(np.zeros((len(rows), 4), np.float32), scores, labels, probs)


def sigmoid(*scores: float) -> Detections:
    """Detections of class 0 of three, whose other probabilities are 0.5."""
    probs = np.array([[score, 0.5, 0.5] for score in scores], np.float32).reshape(-1, 3)
    return Detections(np.zeros((len(scores), 4), np.float32), probs[:, 0], np.zeros(len(scores), np.int64), probs)


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("sum", 3 * LOG2), ("mean", LOG2), ("max", 2 * LOG2)],  # of 0, log 2 and 2 log 2
)
def test_softmax_entropy_of_an_image(aggregate: Aggregate, expected: float) -> None:
    assert image_entropy(softmax(SURE, HALF, EVEN), "softmax", aggregate=aggregate) == pytest.approx(expected)


def test_softmax_entropy_of_uneven_probabilities() -> None:
    # 1/2 log 2 + 1/4 log 4 + 1/8 log 8 + 1/8 log 8 = (1/2 + 2/4 + 3/8 + 3/8) log 2 = 7/4 log 2
    row = softmax([0.5, 0.25, 0.125, 0.125])
    assert image_entropy(row, "softmax") == pytest.approx(7 / 4 * LOG2)


def test_binary_entropy_looks_at_the_top_score_alone() -> None:
    # score 1/2: log 2. score 1/4: 1/4 log 4 + 3/4 log 4/3 = log 4 - 3/4 log 3. The other classes are not looked at.
    expected = [LOG2, math.log(4) - 0.75 * math.log(3)]
    assert detection_entropies(sigmoid(0.5, 0.25), "sigmoid") == pytest.approx(expected)


def test_auto_follows_the_detector_and_binary_can_be_asked_for() -> None:
    # scores: HALF 1/2, so binary log 2; EVEN 1/4, so binary log 4 - 3/4 log 3
    expected = LOG2 + math.log(4) - 0.75 * math.log(3)
    assert image_entropy(softmax(HALF, EVEN), "softmax", per_detection="binary") == pytest.approx(expected)
    assert image_entropy(softmax(HALF, EVEN), "softmax") == pytest.approx(3 * LOG2)


def test_normalised_entropy_is_a_share_of_the_largest() -> None:
    # C = 3 classes and background: log 2 of log 4 is 1/2; binary: of log 2
    assert detection_entropies(softmax(HALF, EVEN), "softmax", normalise=True) == pytest.approx([0.5, 1.0])
    assert detection_entropies(sigmoid(0.5), "sigmoid", normalise=True) == pytest.approx([1.0])


def test_detections_below_the_score_are_left_out() -> None:
    # scores 1/2 and 1/4; the score itself is kept
    image = softmax(HALF, EVEN)
    assert image_entropy(confident(image, 0.25), "softmax") == pytest.approx(3 * LOG2)
    assert image_entropy(confident(image, 0.5), "softmax") == pytest.approx(LOG2)
    assert image_entropy(confident(image, 0.6), "softmax") is None


def test_a_certain_detection_is_no_empty_image() -> None:
    assert image_entropy(softmax(SURE), "softmax") == 0.0
    assert image_entropy(softmax(), "softmax") is None


@pytest.mark.parametrize(
    ("empty", "expected"), [("zero", [LOG2, 0, 2 * LOG2]), ("highest", [LOG2, 2 * LOG2, 2 * LOG2])]
)
def test_policy_for_images_without_detection(empty: Empty, expected: list[float]) -> None:
    images = {1: softmax(HALF), 2: softmax(), 3: softmax(EVEN)}
    assert pool_entropies([1, 2, 3], images, "softmax", empty=empty) == pytest.approx(expected)


@pytest.mark.parametrize("empty", ["zero", "highest"])
def test_a_pool_without_any_detection_scores_zero(empty: Empty) -> None:
    assert pool_entropies([1, 2], {1: softmax(), 2: softmax()}, "softmax", empty=empty).tolist() == [0, 0]


def test_softmax_entropy_of_a_sigmoid_detector_is_refused() -> None:
    with pytest.raises(MgralError, match=r"per_detection is softmax, .* set it to binary or auto$"):
        image_entropy(sigmoid(0.5), "sigmoid", per_detection="softmax")


def test_faulty_detections_are_named() -> None:
    with pytest.raises(MgralError, match=r"^image 2 has no detections entry"):
        pool_entropies([1, 2], {1: softmax(HALF)}, "softmax")
    broken = softmax(HALF)
    broken.probs[0, 0] = np.nan
    with pytest.raises(MgralError, match=r"^image 1 has class probabilities that are not finite"):
        pool_entropies([1], {1: broken}, "softmax")


weights = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(2, 9)), elements=st.floats(0, 1, allow_subnormal=False)
).filter(lambda rows: bool((rows.sum(axis=1) > 1e-3).all()))


@given(weights)
def test_entropy_lies_between_zero_and_the_log_of_the_classes(rows: np.ndarray) -> None:
    probs = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    scores = probs[:, 1:].max(axis=1)
    image = Detections(np.zeros((len(rows), 4), np.float32), scores, np.zeros(len(rows), np.int64), probs)
    bounds: list[tuple[Activation, float]] = [("softmax", math.log(probs.shape[1])), ("sigmoid", LOG2)]
    for activation, largest in bounds:
        values = detection_entropies(image, activation)
        assert ((values >= 0) & (values <= largest + 1e-5)).all()
        assert detection_entropies(image, activation, normalise=True) == pytest.approx(values / largest)
