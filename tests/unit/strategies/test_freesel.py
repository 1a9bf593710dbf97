"""freesel: farthest patterns by hand, the random start, and drawing in proportion to squared distances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mgral.config.schema import Initial
from mgral.core.errors import MgralError
from mgral.core.types import Patterns
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies import _first_pool
from mgral.strategies.freesel import Options, select


def at(*degrees: float) -> list[list[float]]:
    """A local pattern in the plane for each angle."""
    return [[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees]


# image 4 is labelled; the cosine distance of angles a and b is 1 - cos(a - b)
IMAGES = {1: at(0, 90), 2: at(10, 20), 3: at(0, 180), 4: at(0, 5)}


def evidence(images: dict[int, list[list[float]]], labelled: tuple[int, ...]) -> Evidence:
    ids = sorted(images)
    vectors = np.array([images[i] for i in ids], np.float16)
    pool = Pool(0, dict.fromkeys(labelled, 0), tuple(i for i in ids if i not in labelled))
    return Evidence(pool, ("ant",), patterns=Patterns(np.array(ids), vectors))


def test_the_image_of_the_farthest_pattern_is_picked() -> None:
    picks = select(evidence(IMAGES, (4,)), 3, 0, Options())
    assert [pick.id for pick in picks] == [3, 1, 2]
    # 180° from 5°; 90° from 5°, farther than 180°; 20° from 5°
    expected = [1 - math.cos(math.radians(one)) for one in (175, 85, 15)]
    assert [pick.score for pick in picks] == pytest.approx(expected, abs=1e-3)  # half precision
    assert [pick.reason["nearest"] for pick in picks] == [4, 4, 4]


def test_an_average_would_choose_otherwise() -> None:
    """Image 2 is farther on average; image 1 has one pattern that nothing labelled resembles."""
    picks = select(evidence({1: at(0, 0, 0, 170), 2: at(60, 60, 60, 60), 4: at(0, 0, 0, 0)}, (4,)), 1, 0, Options())
    assert picks[0].id == 1


def test_the_start_is_drawn_and_the_rest_follows() -> None:
    rng = np.random.default_rng(0)
    images = {i: rng.normal(size=(3, 8)).tolist() for i in range(1, 31)}
    starts = {tuple(pick.id for pick in select(evidence(images, ()), 4, seed, Options())) for seed in range(8)}
    assert len({one[0] for one in starts}) > 3
    for ids in starts:
        rest = select(evidence(images, ids[:1]), 3, 0, Options())
        assert tuple(pick.id for pick in rest) == ids[1:]


def test_probability_follows_squared_distances() -> None:
    given = evidence({1: at(0), 2: at(60), 3: at(90), 4: at(0)}, (4,))
    drawn = [select(given, 1, seed, Options(sampling="probability"))[0].id for seed in range(600)]
    # distances 0, 0.5 and 1: squares 0, 1/4 and 1
    assert drawn.count(1) == 0 and drawn.count(3) / 600 == pytest.approx(0.8, abs=0.05)


def test_a_backbone_draws_the_first_images() -> None:
    given = evidence(IMAGES, ()).patterns
    params = Initial(initial=2, initial_by="freesel")
    pool = _first_pool.draw(params, [1, 2, 3], [1, 2, 3, 4], 5, given)
    assert len(pool.labelled) == 2 and 4 in pool.unlabelled  # 4 is not annotated
    assert sorted([*pool.labelled, *pool.unlabelled]) == [1, 2, 3, 4]
    assert pool == _first_pool.draw(params, [3, 2, 1], [4, 3, 2, 1], 5, given)
    with pytest.raises(MgralError, match=r"^budget\.initial_by: freesel needs local patterns; give --patterns"):
        _first_pool.draw(params, [1, 2], [1, 2], 0, None)
    with pytest.raises(MgralError, match=r"pool exhausted: 1 annotated images"):
        _first_pool.draw(params, [1], [1, 2], 0, given)
    random = _first_pool.draw(Initial(initial="all"), [1, 3], [1, 2, 3], 0, None)
    assert random.labelled_ids == [1, 3] and random.unlabelled == (2,)
