"""Signals of images by hand, and the greedy choice against a plain loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Detections, Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.reward import signals as module
from mgral.reward.signals import Coverage, Growing, Signals, greedy, measure

LOG2 = math.log(2)


def detections(rows: Sequence[Sequence[float]], background: bool = True) -> Detections:
    """One detection a row of probabilities; label and score are those of the likeliest class."""
    probs = np.array(rows, np.float32).reshape(len(rows), -1)
    of_classes = probs[:, int(background) :]
    labels = of_classes.argmax(axis=1).astype(np.int64)
    return Detections(np.zeros((len(rows), 4), np.float32), of_classes.max(axis=1), labels, probs)


def labels_of(classes: Sequence[int], ignored: int = 0) -> Boxes:
    """Boxes of the given classes, the last ``ignored`` of them to ignore."""
    count = len(classes)
    flags = np.arange(count) >= count - ignored
    return Boxes(np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1)), np.array(classes, np.int64), flags)


def on_a_line(places: Sequence[float], labelled: Sequence[float] = (), **other: np.ndarray) -> Signals:
    """Signals of images at points of a line, ids from 1."""
    count = len(places)
    found = Signals(
        ids=np.arange(1, count + 1),
        entropy=np.ones(count),
        by_class=np.ones((count, 1)),
        expected=np.ones((count, 1)),
        boxes=np.zeros(1),
        vectors=np.array(places, np.float32)[:, None],
        labelled=np.array(labelled, np.float32).reshape(-1, 1),
    )
    return replace(found, **other)


def test_quality_is_of_the_candidates_where_it_was_measured(evidence: Evidence) -> None:
    assert measure(evidence, "test").quality.tolist() == [1, 1, 1]
    measured = np.array([[9, 1], [math.log1p(10), 0], [math.log1p(20), 0.5], [0, 0]], np.float32)  # 1 is labelled
    assert evidence.embeddings is not None
    found = measure(replace(evidence, embeddings=replace(evidence.embeddings, quality=measured)), "test")
    assert found.quality.tolist() == pytest.approx([10 / 20, 20 / 30 / 2, 0])


@pytest.fixture
def evidence() -> Evidence:
    """Two classes; image 1 is labelled with boxes of class 0 twice, 1 once, and one of class 1 to ignore."""
    empty = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros((0, 3), np.float32)
    )
    seen = {
        1: empty,
        2: detections([[0, 0.5, 0.5], [0.5, 0.5, 0]]),
        3: detections([[0.992, 0.008, 0]]),  # below the score from which detections count
        4: empty,
    }
    vectors = np.array([[0, 0], [3, 4], [0, 1], [0, 3]], np.float32)
    return Evidence(
        Pool(0, {1: 0}, (4, 3, 2)),
        ("ant", "bee"),
        seen,
        "softmax",
        Embeddings(np.arange(1, 5), vectors),
        labels={1: labels_of([0, 0, 1, 1], ignored=1)},
    )


def test_softmax(evidence: Evidence) -> None:
    found = measure(evidence, "strategy balanced")
    assert found.ids.tolist() == [2, 3, 4]
    # image 2: two detections of entropy log 2; the first is half ant and half bee, the second ant alone
    assert found.entropy == pytest.approx([2 * LOG2, 0, 0])
    assert found.by_class[0] == pytest.approx([1.5 * LOG2, 0.5 * LOG2])
    assert found.expected[0] == pytest.approx([1.0, 0])  # both have label ant and score 0.5
    assert found.boxes.tolist() == [2, 1]
    # 1/3 and 1/2, at mean 1: 0.8 and 1.2
    assert found.class_weights == pytest.approx([0.8, 1.2])
    assert found.balanced[0] == pytest.approx((1.5 * 0.8 + 0.5 * 1.2) * LOG2)
    assert found.novelty == pytest.approx([5, 1, 3])
    # nearest others: 2 to 4: √10; 3 to 4: 2; 4 to 3: 2
    assert found.scale == pytest.approx(2)


def test_sigmoid(evidence: Evidence) -> None:
    seen = {**dict(evidence.detections or {}), 2: detections([[0.5, 0.25]], background=False)}
    seen[3] = seen[4] = detections([[0.0, 0.0]], background=False)
    found = measure(replace(evidence, detections=seen, activation="sigmoid"), "strategy balanced")
    assert found.entropy == pytest.approx([LOG2, 0, 0])  # binary entropy of the top score
    assert found.by_class[0] == pytest.approx([2 / 3 * LOG2, 1 / 3 * LOG2])


def test_sum_over_classes_is_the_entropy(evidence: Evidence) -> None:
    rng = np.random.default_rng(0)
    seen = {i: detections(rng.dirichlet(np.ones(3), 5).tolist()) for i in range(1, 5)}
    found = measure(replace(evidence, detections=seen), "strategy balanced")
    assert found.by_class.sum(axis=1) == pytest.approx(found.entropy)


def test_a_class_without_boxes_weighs_most_and_is_finite(evidence: Evidence) -> None:
    found = measure(replace(evidence, labels={1: labels_of([0])}), "strategy balanced")
    assert found.class_weights == pytest.approx([2 / 3, 4 / 3])


def test_probabilities_that_are_not_finite_are_named(evidence: Evidence) -> None:
    seen = {**dict(evidence.detections or {}), 3: detections([[0.5, 0.5, float("nan")]])}
    seen[3] = replace(seen[3], scores=np.array([0.5], np.float32))
    with pytest.raises(MgralError, match="image 3 has class probabilities that are not finite"):
        measure(replace(evidence, detections=seen), "strategy balanced")


def test_coverage_by_hand() -> None:
    # candidates at 0, 1, 2, 10; nearest others 1, 1, 1, 8: σ = 1; labelled at 12
    found = on_a_line([0, 1, 2, 10], [12])
    assert found.scale == 1
    coverage = Coverage(found)
    assert coverage.discount(3) == pytest.approx(1 - math.exp(-4))
    coverage.choose(2)
    assert coverage.discount(1) == pytest.approx(1 - math.exp(-1))
    assert coverage.discount(2) == 0
    assert Coverage(on_a_line([0, 1])).discount(0) == 1  # nothing labelled, nothing chosen


def test_copies_alone_have_scale_zero() -> None:
    found = on_a_line([1, 1, 1, 5], [0])
    assert found.scale == 0
    coverage = Coverage(found)
    coverage.choose(0)
    assert [coverage.discount(row) for row in range(4)] == [0, 0, 0, 1]


def test_scale_of_many_is_that_of_a_sample_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(900, 3)).astype(np.float32)
    exact = module._scale(vectors)
    monkeypatch.setattr(module, "ROWS", 128)
    assert module._scale(vectors) == pytest.approx(exact, rel=1e-12)
    monkeypatch.setattr(module, "EVERY", 500)
    monkeypatch.setattr(module, "SCALE_SAMPLE", 300)
    assert module._scale(vectors) == pytest.approx(exact, rel=0.15)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
    st.integers(1, 12),
    st.data(),
)
def test_lazy_choice_is_that_of_the_plain_loop(
    places: list[int], labelled: list[int], count: int, data: st.DataObject
) -> None:
    small = st.lists(st.integers(0, 5), min_size=len(places), max_size=len(places))
    expected = np.array([data.draw(small), data.draw(small)], np.float64).T
    found = on_a_line(places, labelled, expected=expected, boxes=np.array([3.0, 0.0]))
    batch = Growing(found, np.array([0.5, 0.25]))
    choices = [choice.row for choice in greedy(found, count, batch.gain, batch.add)]

    assert len(choices) == min(count, len(places))
    assert len(set(choices)) == len(choices)
    plain: list[int] = []
    boxes = found.boxes + 1
    for chosen in choices:
        centres = [*labelled, *(places[row] for row in plain)]
        discounts = []
        for place in places:
            square = min(((place - centre) ** 2 for centre in centres), default=math.inf)
            discounts.append(Coverage(found).of_square(square))
        gains = [
            0.25 * math.log1p(r * m[0] / boxes[0]) + 0.125 * math.log1p(r * m[1] / boxes[1])
            for r, m in zip(discounts, expected, strict=True)
        ]
        best = max(gains[row] for row in range(len(places)) if row not in plain)
        assert gains[chosen] >= best - 1e-12  # gains that are equal on paper may differ by rounding
        boxes = boxes + discounts[chosen] * expected[chosen]
        plain.append(chosen)
