"""balanced, growth, learnable and adaptive on images whose order can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Detections, Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.reward.adaptive import FEWEST, rule_for
from mgral.strategies import adaptive, balanced, growth, learnable

LOG2 = math.log(2)


def detections(rows: Sequence[Sequence[float]]) -> Detections:
    """Softmax rows over background, ant and bee; box (0, 0, 10, 10)."""
    probs = np.array(rows, np.float32).reshape(len(rows), 3)
    xyxy = np.tile(np.array([0, 0, 10, 10], np.float32), (len(rows), 1))
    return Detections(xyxy, probs[:, 1:].max(axis=1, initial=0), probs[:, 1:].argmax(axis=1).astype(np.int64), probs)


def boxes(*labels: int) -> Boxes:
    xyxy = np.tile(np.array([0, 0, 10, 10], np.float32), (len(labels), 1))
    return Boxes(xyxy, np.array(labels, np.int64), np.zeros(len(labels), np.bool_))


COPIES = {5: 2000, 6: 2000, 7: 2000, 8: 2000}  # empty images; where most are copies, any distance is new (σ = 0)
ANT, BEE = [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]  # entropy log 2 each, expected boxes 0.5 each


def evidence(
    seen: Mapping[int, Sequence[Sequence[float]]], places: Mapping[int, float], labels: Mapping[int, Boxes]
) -> Evidence:
    """Images at points of a line, far from the labelled ones."""
    ids = sorted([*places, *labels])
    vectors = np.array([[places.get(i, 1e6)] for i in ids], np.float32)
    return Evidence(
        Pool(0, dict.fromkeys(labels, 0), tuple(places)),
        ("ant", "bee"),
        {i: detections(seen.get(i, [])) for i in ids},
        "softmax",
        Embeddings(np.array(ids), vectors),
        labels=labels,
        competence=np.array([0.1, 0.4]),
        held_out={},
    )


def test_balanced_prefers_the_rare_class_and_avoids_copies() -> None:
    # 3 boxes of ant, 0 of bee: weights 1/4 and 1, at mean 1: 0.4 and 1.6; σ = 0, for 2 and 3 are copies
    given = evidence({2: [BEE], 3: [BEE], 4: [ANT, ANT]}, {2: 0, 3: 0, 4: 500, 5: 900, 6: 900}, {1: boxes(0, 0, 0)})
    picks = balanced.select(given, 9, 0, balanced.Options())
    assert [pick.id for pick in picks] == [2, 4, 3, 5, 6]
    assert [pick.score for pick in picks] == pytest.approx([1.6 * LOG2, 0.8 * LOG2, 0, 0, 0])
    assert picks[0].reason == {"balanced_entropy": pytest.approx(1.6 * LOG2), "class": "bee", "coverage": 1.0}
    assert picks[2].reason["coverage"] == 0
    assert "class" not in picks[3].reason  # nothing is detected


def test_growth_by_hand() -> None:
    given = evidence({2: [ANT, ANT], 3: [BEE], 4: [BEE]}, {2: 0, 3: 500, 4: 1000, **COPIES}, {1: boxes(0, 1)})
    # boxes + 1: 2 and 2. equal: image 2 log(3/2)/2, images 3 and 4 log(2.5/2)/2, then the fourth log(3/2.5)/2
    picks = growth.select(given, 3, 0, growth.Options(weights="equal"))
    assert [pick.id for pick in picks] == [2, 3, 4]
    wanted = [math.log(3 / 2) / 2, math.log(2.5 / 2) / 2, math.log(3 / 2.5) / 2]
    assert [pick.score for pick in picks] == pytest.approx(wanted)
    assert picks[0].reason == {
        "growth": picks[0].score,
        "expected_boxes": pytest.approx(1),
        "class": "ant",
        "coverage": pytest.approx(1),
    }
    # competence 0.1 and 0.4: bee is worth four times as much
    picks = growth.select(given, 3, 0, growth.Options(weights="competence"))
    assert [pick.id for pick in picks] == [3, 4, 2]
    wanted = [0.4 * math.log(2.5 / 2) / 2, 0.4 * math.log(3 / 2.5) / 2, 0.1 * math.log(3 / 2) / 2]
    assert [pick.score for pick in picks] == pytest.approx(wanted)


def test_growth_of_a_blind_detector_weighs_classes_equally() -> None:
    given = evidence({2: [ANT, ANT], 3: [BEE]}, {2: 0, 3: 500, **COPIES}, {1: boxes(0, 1)})
    blind = replace(given, competence=np.zeros(2))
    equal, competence = (growth.select(blind, 2, 0, growth.Options(weights=w)) for w in ("equal", "competence"))
    assert equal == competence


def test_learnable_leaves_out_what_cannot_be_learnt() -> None:
    # Held out: at low entropy everything is found, at high entropy nothing: quality 1 - rank
    held_out = {1: detections([[0, 1, 0]]), 9: detections([ANT])}
    labels = {1: boxes(0), 9: boxes(1)}
    seen = {2: [ANT] * 4, 3: [ANT] * 3, 4: [ANT]}
    given = replace(evidence(seen, {2: 0, 3: 500, 4: 1000, **COPIES}, labels), held_out=held_out)
    assert [pick.id for pick in balanced.select(given, 3, 0, balanced.Options())] == [2, 3, 4]
    picks = learnable.select(given, 3, 0, learnable.Options())
    # of 7 images, 4 without detections, these have ranks 1, 5/6 and 4/6: scores 4 · 0.02, 3 · 1/6, 1 · 1/3, in log 2
    assert [pick.id for pick in picks] == [3, 4, 2]
    assert [pick.reason["quality"] for pick in picks] == pytest.approx([1 / 6, 1 / 3, 0.02])


def test_learnable_measures_on_all_replay_splits() -> None:
    """In the second split it is the other way round: what is expected is the same everywhere, as of balanced."""
    first, second = (
        {1: detections([[0, 1, 0]]), 9: detections([ANT])},
        {1: detections([ANT]), 9: detections([[0, 0, 1]])},
    )
    seen = {2: [ANT] * 4, 3: [ANT] * 3, 4: [ANT]}
    given = evidence(seen, {2: 0, 3: 500, 4: 1000, **COPIES}, {1: boxes(0), 9: boxes(1)})
    alone = learnable.select(replace(given, held_out=first), 3, 0, learnable.Options())
    both = learnable.select(replace(given, held_out=first, more_held_out=(second,)), 3, 0, learnable.Options())
    again = learnable.select(replace(given, held_out=first, more_held_out=(first,)), 3, 0, learnable.Options())
    assert again == alone and [pick.id for pick in alone] == [3, 4, 2]
    assert [pick.reason["quality"] for pick in both] != [pick.reason["quality"] for pick in alone]
    unknown = replace(given, held_out=first, more_held_out=({2: detections([BEE])},))
    with pytest.raises(MgralError, match="image 2 of --held-out is not labelled"):
        learnable.select(unknown, 1, 0, learnable.Options())


def test_learnable_without_held_out_images_is_balanced() -> None:
    given = evidence({2: [BEE], 3: [ANT], 4: [ANT, BEE]}, {2: 0, 3: 500, 4: 1000, **COPIES}, {1: boxes(0, 0)})
    plain = balanced.select(given, 3, 0, balanced.Options())
    picks = learnable.select(given, 3, 0, learnable.Options())
    assert [(pick.id, pick.score) for pick in picks] == [(pick.id, pick.score) for pick in plain]


def test_a_held_out_image_without_labels_is_named() -> None:
    given = replace(evidence({2: [BEE]}, {2: 0}, {1: boxes(0)}), held_out={2: detections([BEE])})
    with pytest.raises(MgralError, match="image 2 of --held-out is not labelled"):
        learnable.select(given, 1, 0, learnable.Options())


@pytest.mark.parametrize(
    ("confident", "rule"),
    [
        ((10, 6), "balanced"),
        ((10, 5), "learnable"),
        ((9, 9), "learnable"),
        ((0, 0), "learnable"),
        ((999, 599), "learnable"),
    ],
)
def test_adaptive_is_the_rule_that_fits_the_detector(confident: tuple[int, int], rule: str) -> None:
    assert rule_for(confident) == rule
    held_out, labels = {1: detections([[0, 1, 0]]), 9: detections([ANT])}, {1: boxes(0), 9: boxes(1)}
    seen = {2: [ANT] * 4, 3: [ANT] * 3, 4: [ANT]}
    given = replace(evidence(seen, {2: 0, 3: 500, 4: 1000, **COPIES}, labels), held_out=held_out)
    picks = adaptive.select(replace(given, confident=confident), 3, 0, adaptive.Options())
    plain = {
        "balanced": balanced.select(given, 3, 0, balanced.Options()),
        "learnable": learnable.select(given, 3, 0, learnable.Options()),
    }
    assert [(pick.id, pick.score) for pick in picks] == [(pick.id, pick.score) for pick in plain[rule]]
    assert {pick.reason["rule"] for pick in picks} == {rule}
    assert FEWEST == 10


def test_adaptive_of_a_blind_detector_takes_copies_last() -> None:
    """Nothing is found, neither in the pool nor in the images held out: no failure, and a copy comes last."""
    labels = {1: boxes(0), 9: boxes(1)}
    given = evidence({}, {2: 0, 3: 0, 4: 1000, 5: 3000}, labels)
    given = replace(given, held_out={1: detections([]), 9: detections([])}, confident=(0, 0))
    picks = adaptive.select(given, 4, 0, adaptive.Options())
    assert sorted(pick.id for pick in picks) == [2, 3, 4, 5]
    assert all(math.isfinite(pick.score) and pick.reason["rule"] == "learnable" for pick in picks)
    assert picks[-1].id == 3


def test_adaptive_without_its_counts_says_what_to_give() -> None:
    with pytest.raises(MgralError, match="adaptive: needs the confident detections on val; give --competence"):
        adaptive.select(evidence({2: [BEE]}, {2: 0}, {1: boxes(0)}), 1, 0, adaptive.Options())
