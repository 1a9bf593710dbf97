"""Entropy-NMS, class prototypes, and the two conditions of a diverse batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Detections, Pick
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies._features import mean_feature, unit
from mgral.strategies.ebal import (
    DiverseBatch,
    Instances,
    Options,
    class_prototypes,
    entropy_nms,
    minority_quotas,
    select,
)

LOG2, LOG3 = math.log(2), math.log(3)
HALF, QUARTER = LOG2, 2 * LOG2 - 0.75 * LOG3  # entropy of a score of 1/2, and of 1/4 or 3/4
EAST, NORTH, NORTH_EAST = (1.0, 0.0), (0.0, 1.0), (0.8, 0.6)  # cosines: 0; 0.8 to EAST, 0.6 to NORTH

Object = tuple[int, float, tuple[float, float]]  # class, score, feature


def seen(*objects: Object) -> Instances:
    scores = np.array([score for _, score, _ in objects])
    entropies = np.array([{0.5: HALF, 0.25: QUARTER, 0.75: QUARTER, 1.0: 0.0}[score] for score in scores.tolist()])
    features = np.array([feature for _, _, feature in objects]).reshape(-1, 2)
    return Instances(scores, np.array([label for label, _, _ in objects], np.int64), entropies, features)


def detected(*objects: Object) -> Detections:
    n = len(objects)
    return Detections(
        np.zeros((n, 4), np.float32),
        np.array([score for _, score, _ in objects], np.float32),
        np.array([label for label, _, _ in objects], np.int64),
        np.zeros((n, 4), np.float32),
        np.array([feature for _, _, feature in objects], np.float16).reshape(-1, 2),
    )


def boxes(*labels: int, ignore: Sequence[int] = ()) -> Boxes:
    ignored = np.isin(np.arange(len(labels)), ignore)
    return Boxes(np.zeros((len(labels), 4), np.float32), np.array(labels, np.int64), ignored)


@pytest.mark.parametrize(
    ("third", "same", "expected"),
    [
        # log 2 is counted first; the second box, of its class and at cosine 0.8, is dropped at 0.5. The third:
        (
            (0, 0.25, NORTH),
            0.5,
            (HALF + QUARTER, 2),
        ),  # at a right angle to the first; like the second, but that is gone
        ((0, 0.25, (3.0, 4.0)), 0.5, (HALF, 1)),  # at 3/5, whatever the length
        ((1, 0.25, EAST), 0.5, (HALF + QUARTER, 2)),  # of another class
        ((0, 0.25, NORTH), 0.9, (HALF + 2 * QUARTER, 3)),  # nothing is that like
    ],
)
def test_entropy_nms_on_three_boxes(third: Object, same: float, expected: tuple[float, int]) -> None:
    assert entropy_nms(seen((0, 0.75, NORTH_EAST), (0, 0.5, EAST), third), same) == pytest.approx(expected)


def test_entropy_nms_without_anything() -> None:
    assert entropy_nms(seen(), 0.5) == (0.0, 0)
    # without features nothing repeats anything, but nothing is counted twice
    assert entropy_nms(seen((0, 0.5, (0.0, 0.0)), (0, 0.5, (0.0, 0.0))), 0.5) == pytest.approx((2 * HALF, 2))


def test_prototypes_are_means_weighted_by_entropy() -> None:
    # class 0: (log 2 · EAST + H(1/4) · NORTH) / (log 2 + H(1/4)); class 1 has no entropy: the plain mean
    found = class_prototypes(seen((0, 0.5, EAST), (0, 0.25, NORTH), (1, 1.0, EAST), (1, 1.0, NORTH)))
    assert found[0] == pytest.approx(np.array([HALF, QUARTER]) / (HALF + QUARTER))
    assert found[1] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        # 3, 1, 1 and 2 boxes, one of class 2 ignored: the rarest half is 1 and 2; 0.75 · 9 / 2 = 3.375
        ([boxes(0, 0, 0, 1), boxes(2, 2, 3, 3, ignore=[1])], 4, {1: 4, 2: 4}),
        ([boxes(0)], 1, {0: 7}),  # 6.75
        ([], 3, {0: 4, 1: 4}),  # nothing is known: two of three, by index
    ],
)
def test_quotas_of_the_rarest_half(labels: list[Boxes], classes: int, expected: dict[int, int]) -> None:
    assert minority_quotas(labels, classes, 9, Options()) == expected


def test_the_two_thresholds_and_the_quota() -> None:
    east, north, north_east = map(np.array, (EAST, NORTH, NORTH_EAST))
    batch = DiverseBatch(same_class=0.7, seen=0.3, quotas={1: 1})
    # no image is in the batch, so every class is new; but class 1, the minority, must show above 0.3
    assert batch.judge({0: east}, {0: 0.9}) == (False, {"likeness": -1.0, "minority": 0.0})
    assert batch.judge({1: east}, {1: 0.3}) == (False, {"likeness": -1.0, "minority": 0.3})
    assert batch.judge({0: east, 1: north}, {0: 0.9, 1: 0.4}) == (True, {"likeness": -1.0, "minority": 0.4})
    batch.take({0: east, 1: north}, {0: 0.9, 1: 0.4})
    # the only place of class 1 is taken, so prototypes alone decide. Class 0 at 0.8 is not new, class 1 at 0.6 is.
    new, reason = batch.judge({0: north_east}, {0: 0.5})
    assert (new, reason["likeness"], reason["minority"]) == (False, pytest.approx(0.8), 0.0)
    new, reason = batch.judge({0: north_east, 1: north_east}, {0: 0.5, 1: 0.5})
    assert (new, reason["likeness"]) == (True, pytest.approx(0.6))
    assert batch.judge({}, {}) == (False, {"likeness": 1.0, "minority": 0.0})


def test_a_place_is_taken_only_by_a_class_that_shows() -> None:
    batch = DiverseBatch(same_class=0.7, seen=0.3, quotas={0: 1, 1: 1})
    batch.take({0: np.array(EAST), 1: np.array(EAST)}, {0: 0.2, 1: 0.4})
    assert batch.judge({0: np.array(NORTH)}, {0: 0.5}) == (True, {"likeness": 0.0, "minority": 0.5})
    assert not batch.judge({1: np.array(NORTH)}, {1: 0.5})[0]


@pytest.fixture
def five() -> Evidence:
    """Bees are the minority: one place or more. Scores: image 1 2 log 2, 2 log 2 + H(3/4), 3 and 4 log 2, 5 nothing."""
    detections = {
        1: detected((0, 0.5, EAST), (0, 0.5, NORTH)),
        2: detected((1, 0.75, NORTH), (0, 0.5, EAST)),
        3: detected((1, 0.5, NORTH)),
        4: detected((1, 0.5, EAST)),
        5: detected(),
    }
    pool = Pool(0, {9: 0}, (5, 4, 3, 2, 1))
    return Evidence(pool, ("ant", "bee"), detections, "softmax", labels={9: boxes(0, 0, 1)})


def told(picks: Sequence[Pick]) -> list[tuple[int, object, object]]:
    return [(pick.id, pick.reason["by"], pick.reason["instances"]) for pick in picks]


def test_selection_is_diverse_and_filled_up_by_score(five: Evidence) -> None:
    # In order of score: 1 shows no bee; 2 is the first; 3's bee is that of 2, cosine 1; 4's is at 0; 5 shows nothing.
    # Places for bees: 0.75 · 2 = 1.5, so 2, and 0.75 · 3 = 2.25, so 3.
    assert told(select(five, 2, 0, Options(centre=False))) == [(2, "diversity", 2), (4, "diversity", 1)]
    picks = select(five, 3, 0, Options(centre=False))
    assert told(picks) == [(1, "score", 2), (2, "diversity", 2), (4, "diversity", 1)]
    assert [pick.score for pick in picks] == pytest.approx([2 * HALF, HALF + QUARTER, HALF])
    assert picks[0].reason == {"instances": 2, "by": "score", "likeness": -1.0, "minority": 0.0}
    assert picks[2].reason["likeness"] == pytest.approx(0)
    assert [pick.id for pick in select(five, 9, 0, Options(centre=False))] == [1, 2, 3, 4, 5]


def test_without_a_quota_prototypes_alone_decide(five: Evidence) -> None:
    # 1 is the first; 2's ant is that of 1 in part: prototype of 1 at 45°, cosine 0.707 to EAST, but its bee is new
    assert told(select(five, 2, 0, Options(quota=0, centre=False))) == [(1, "diversity", 2), (2, "diversity", 2)]


def test_what_is_missing_is_named(five: Evidence) -> None:
    assert five.detections is not None
    with pytest.raises(MgralError, match="ebal: needs the labels"):
        select(replace(five, labels=None), 1, 0, Options())
    with pytest.raises(MgralError, match=r"^image 6 has no detections entry"):
        select(replace(five, pool=Pool(0, {}, (1, 6))), 1, 0, Options())
    plain = replace(five.detections[3], features=None)
    with pytest.raises(MgralError, match=r"^image 3 has detections without features"):
        select(replace(five, detections={**five.detections, 3: plain}), 1, 0, Options())
    broken = replace(five.detections[3], features=np.full((1, 2), np.nan, np.float16))
    with pytest.raises(MgralError, match=r"^image 3 has scores or features that are not finite"):
        select(replace(five, detections={**five.detections, 3: broken}), 1, 0, Options())


def test_centred_features_point_in_different_directions() -> None:
    # mean of (0.9, 0.1) and (1, 0) twice each: (0.95, 0.05); less it, -0.05 and 0.05 along one line: cosine -1
    features = [(0.9, 0.1), (1.0, 0.0), (0.9, 0.1), (1.0, 0.0)]
    detections = {i: detected(*((0, 0.5, one) for one in features[2 * i - 2 : 2 * i])) for i in (1, 2)}
    mean = mean_feature(detections, [1, 2], 0.01)
    assert mean == pytest.approx([0.95, 0.05], abs=1e-3)  # features are stored in half precision
    given = Evidence(Pool(0, {}, (1, 2)), ("ant",), detections, labels={})
    assert [pick.reason["instances"] for pick in select(given, 2, 0, Options())] == [2, 2]
    assert [pick.reason["instances"] for pick in select(given, 2, 0, Options(centre=False))] == [1, 1]


def test_features_that_are_all_alike_have_no_direction() -> None:
    detections = {1: detected((0, 0.5, (0.3, 0.7)), (0, 0.5, (0.3, 0.7)), (0, 0.5, (0.3, 0.7)))}
    features = np.array(detections[1].features, np.float64) - mean_feature(detections, [1], 0.01)
    assert unit(features).tolist() == [[0, 0]] * 3
    assert mean_feature({1: detected()}, [1], 0.01).tolist() == 0
