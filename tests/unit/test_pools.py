"""The pool's state."""

from __future__ import annotations

import json

import pytest

from mgral import pools
from mgral.errors import MgralError


def test_a_batch_moves_and_keeps_its_cycle(tmp_path):
    pool = pools.initial(range(1, 11), 4, seed=3)
    assert len(pool.labelled) == 4 and set(pool.labelled.values()) == {0}
    assert sorted([*pool.labelled, *pool.unlabelled]) == list(range(1, 11))
    batch = pool.unlabelled[:2]
    after = pools.annotate(pool, reversed(batch))
    assert after.cycle == 1
    assert {i: after.labelled[i] for i in batch} == dict.fromkeys(batch, 1)
    assert set(after.unlabelled) == set(pool.unlabelled) - set(batch)
    pools.write(after, tmp_path / "pool.json")
    assert pools.read(tmp_path / "pool.json") == after


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    assert pools.initial([3, 1, 2, 5, 4], 2, 0) == pools.initial([1, 2, 3, 4, 5], 2, 0)
    drawn = {tuple(pools.initial(range(100), 5, seed).labelled) for seed in range(5)}
    assert len(drawn) == 5


def test_a_pool_too_small_says_both_numbers():
    with pytest.raises(MgralError, match=r"pool exhausted: 3 images .* asks for 4"):
        pools.initial([1, 2, 3], 4, 0)


@pytest.mark.parametrize(
    ("batch", "says"),
    [([1], "image 1 is labelled already"), ([9], "image 9 is not in the pool"), ([2, 2], "image 2")],
)
def test_a_bad_batch_is_refused(batch, says):
    with pytest.raises(MgralError, match=says):
        pools.annotate(pools.Pool(0, {1: 0}, (2, 3)), batch)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"cycle": 0}, "not a pool"),
        ([], "not a pool"),
        ({"cycle": 0, "labelled": [{"id": 1, "cycle": 0}], "unlabelled": [1]}, "image 1 is both"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, says):
    (tmp_path / "pool.json").write_text(json.dumps(content))
    with pytest.raises(MgralError, match=says):
        pools.read(tmp_path / "pool.json")
