"""Greedy k-center on a line, and against distances computed one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Embeddings, Pick
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.coreset import Options, select


def on_a_line(places: Mapping[int, float], labelled: Sequence[int] = ()) -> Evidence:
    """Images at (3x, 4x): the distance of two is 5 |x - x'|."""
    ids = sorted(places)
    vectors = np.array([(3 * places[i], 4 * places[i]) for i in ids], np.float32)
    pool = Pool(0, dict.fromkeys(labelled, 0), tuple(i for i in ids if i not in labelled))
    return Evidence(pool, ("ant",), embeddings=Embeddings(np.array(ids), vectors))


def told(picks: Sequence[Pick]) -> list[tuple[int, float, int]]:
    return [(pick.id, pick.score, int(pick.reason["nearest"])) for pick in picks]


def test_farthest_first_on_a_line() -> None:
    # Labelled: image 1 at 0. Distances / 5: image 2: 1, 3: 4, 4: 9, 5: 10. Farthest: 5, at 50 from 1.
    # Then 2: min(1, 9) = 1, 3: min(4, 6) = 4, 4: min(9, 1) = 1. Next 3, at 20 from 1.
    # Then 2: min(1, 3) = 1 and 4: 1, a tie that goes to 2, whose nearest is 1; last 4, whose nearest is 5.
    given = on_a_line({1: 0, 2: 1, 3: 4, 4: 9, 5: 10}, labelled=[1])
    assert told(select(given, 4, 0, Options())) == [(5, 50, 1), (3, 20, 1), (2, 5, 1), (4, 5, 5)]
    assert told(select(given, 2, 0, Options())) == [(5, 50, 1), (3, 20, 1)]
    assert len(select(given, 9, 0, Options())) == 4


def test_of_equally_near_labelled_images_the_smallest_id_is_named() -> None:
    # image 2 at 5, labelled 7 at 0 and 4 at 10: both 25 away
    given = on_a_line({7: 0, 4: 10, 2: 5}, labelled=[7, 4])
    assert told(select(given, 1, 0, Options())) == [(2, 25, 4)]


def test_cold_start_at_the_image_nearest_the_mean() -> None:
    # places 0, 4, 5, 15: mean 6, nearest to it image 3 at 5. From 5: 25, 5, 0, 50, so 4 comes next, at 50,
    # which is also the score of the start; then 1, at 25 from 3.
    given = on_a_line({1: 0, 2: 4, 3: 5, 4: 15})
    picks = select(given, 3, 0, Options())
    assert [(pick.id, pick.score) for pick in picks] == [(3, 50), (4, 50), (1, 25)]
    assert picks[0].reason == {"distance": 50, "start": "nearest the mean"}
    assert picks[2].reason == {"distance": 25, "nearest": 3}


def test_cold_start_with_a_single_image() -> None:
    assert [(pick.id, pick.score) for pick in select(on_a_line({8: 3}), 5, 0, Options())] == [(8, 0)]


def test_a_copy_of_a_labelled_image_is_at_no_distance_at_all() -> None:
    # the fast product alone would leave a rest: |x|² - 2x·x + |x|² of 256 rounded products
    vectors = np.random.default_rng(0).normal(100, 1, (3, 256)).astype(np.float32)[[0, 0, 1]]
    pool = Pool(0, {1: 0}, (2, 3))
    picks = select(Evidence(pool, ("ant",), embeddings=Embeddings(np.array([1, 2, 3]), vectors)), 2, 0, Options())
    assert [pick.id for pick in picks] == [3, 2]
    assert picks[1].score == 0.0


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MgralError, match="coreset: needs embeddings"):
        select(Evidence(Pool(0, {}, (1,)), ("ant",)), 1, 0, Options())
    given = Evidence(
        Pool(0, {9: 0}, (1,)), ("ant",), embeddings=Embeddings(np.array([1]), np.zeros((1, 2), np.float32))
    )
    with pytest.raises(MgralError, match=r"^image 9 has no embedding"):
        select(given, 1, 0, Options())
