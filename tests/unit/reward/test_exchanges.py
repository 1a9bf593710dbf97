"""Polishing by hand and against brute force; prices in a file; random batches."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import scattered, weights, world

from mgral.core.errors import MgralError
from mgral.core.types import Embeddings
from mgral.reward import batch_price, exchanges, price_list
from mgral.reward.batch_price import BatchPrice
from mgral.reward.exchanges import _exchanged, polish

BOTH = weights(3, growth=0.1, learnable=0.2, novelty=-0.05)


def test_a_copy_is_exchanged_for_what_is_new() -> None:
    # 1 and 2 are copies; 3 adds less than 1 alone, but more than a copy of it
    pool = world([0, 0, 100, 200], [[2], [2], [1], [0.5]])
    price = BatchPrice(pool, weights(1, growth=1.0))
    assert polish(price, [1, 2], 5) == [2, 3]
    assert polish(price, [1, 3], 5) == [1, 3]
    assert polish(price, [2, 1], 0) == [1, 2]


def test_of_equal_exchanges_the_smallest_id_wins() -> None:
    pool = world([0, 100, 200, 300], [[0], [2], [2], [2]])
    assert polish(BatchPrice(pool, weights(1, growth=1.0)), [1], 3) == [2]


def test_nothing_to_exchange() -> None:
    pool = world([0, 1], [[1], [1]])
    assert polish(BatchPrice(pool, weights(1, growth=1.0)), [2, 1], 3) == [1, 2]
    assert polish(BatchPrice(pool, None), [2], 3) == [2]


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_numbers_of_exchanges_are_those_of_the_changed_batches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = scattered(seed=seed % 7)
    batch = rng.choice(pool.ids, rng.integers(1, 7), replace=False).tolist()
    rows, out = pool.rows(batch, "batch"), batch[0]
    others = np.flatnonzero(~np.isin(pool.ids, batch))
    found = _exchanged(pool, rows, out - 1, others)
    for k, other in enumerate(others):
        changed = [i for i in batch if i != out] + [int(pool.ids[other])]
        assert found[k] == pytest.approx(pool.raw(pool.rows(changed, "batch")[None])[0])


def test_a_polished_batch_cannot_be_raised_by_an_exchange() -> None:
    pool = scattered(14)
    price = BatchPrice(pool, BOTH)
    batch = polish(price, [1, 2, 3], 50)
    best = float(price.of([batch])[0][0])
    assert best >= float(price.of([[1, 2, 3]])[0][0])
    for out, other in itertools.product(batch, set(pool.ids.tolist()) - set(batch)):
        assert float(price.of([[*(set(batch) - {out}), other]])[0][0]) <= best + 1e-8


@given(st.integers(0, 10**6), st.integers(0, 3))
@settings(max_examples=20)
def test_polishing_never_lowers_the_price(seed: int, passes: int) -> None:
    price = BatchPrice(scattered(25, seed=seed % 5), BOTH)
    batch = np.random.default_rng(seed).choice(price.world.ids, 5, replace=False).tolist()
    polished = polish(price, batch, passes)
    assert len(set(polished)) == 5
    assert price.of([polished])[0][0] >= price.of([batch])[0][0] - 1e-12
    assert polished == polish(price, batch[::-1], passes)


@pytest.mark.parametrize("caution", [0.0, 0.5, 3.0])
def test_exchanges_raise_what_the_agent_is_rewarded_by(caution: float) -> None:
    price = BatchPrice(scattered(14, seed=1), BOTH)

    def reward(batch: list[int]) -> float:
        found, deviation = price.of([batch])
        return float(found[0] - caution * deviation[0])

    batch = polish(price, [1, 2, 3], 50, caution)
    assert reward(batch) >= reward([1, 2, 3])
    for out, other in itertools.product(batch, set(price.world.ids.tolist()) - set(batch)):
        assert reward([*(set(batch) - {out}), other]) <= reward(batch) + 1e-8
    assert (batch == polish(price, [1, 2, 3], 50)) == (caution == 0)


def test_a_large_pool_is_polished_from_its_shortlist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "SHORTLIST", 2)
    pool = world([0, 100, 200, 300], [[0], [1], [2], [3]])
    assert polish(BatchPrice(pool, weights(1, growth=1.0)), [1, 2], 3) == [3, 4]


def test_the_price_of_a_file_is_that_which_was_written(tmp_path: Path) -> None:
    pool = scattered()
    embeddings = Embeddings(np.arange(51), np.zeros((51, 4), np.float32))
    embeddings.vectors[pool.ids] = pool.vectors
    path = tmp_path / "price.npz"
    batches = [[1, 2, 3], [9, 30, 4]]
    batch_price.write(BatchPrice(pool, BOTH), path)
    read = batch_price.read(path, embeddings)
    assert [part.tobytes() for part in read.of(batches)] == [
        part.tobytes() for part in BatchPrice(pool, BOTH).of(batches)
    ]
    state = read.agent_state(embeddings)
    assert state.ids.tolist() == pool.ids.tolist()
    assert state.width == 4 + 8
    plain = np.hstack([pool.vectors, pool.state()])
    assert state.rows([9, 2]).tobytes() == plain[[8, 1]].tobytes()
    for some in (slice(0, 4), slice(2, 7), slice(4, 32), slice(0, 32)):  # of the embedding, of both, beside it
        assert np.array_equal(state.columns(some), plain[:, some])
    with pytest.raises(MgralError, match="image 50 has no number in the price; run `mgral table` again"):
        state.rows([2, 50])  # it has an embedding, and is no candidate
    batch_price.write(BatchPrice(pool, None), path)
    with pytest.raises(MgralError, match="bayes alone"):
        batch_price.read(path, embeddings).of(batches)


def test_a_price_of_other_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "price.npz"
    batch_price.write(BatchPrice(scattered(), BOTH), path)
    with pytest.raises(MgralError, match=r"price\.npz: image 1 has no embedding"):
        batch_price.read(path, Embeddings(np.arange(2, 99), np.zeros((97, 4), np.float32)))
    batch_price.write(BatchPrice(replace(scattered(), scores=np.zeros((40, 2))), BOTH), path)
    with pytest.raises(MgralError, match="array 'scores' is missing or has another shape"):
        batch_price.read(path, Embeddings(np.arange(99), np.zeros((99, 4), np.float32)))
    with pytest.raises(MgralError, match=r"absent\.npz: no such file; make it with `mgral table`"):
        batch_price.read(tmp_path / "absent.npz", Embeddings(np.arange(9), np.zeros((9, 4), np.float32)))


def test_prices_of_batches_beside_random_ones() -> None:
    price = BatchPrice(scattered(200), BOTH)
    best = polish(price, list(range(1, 11)), 10)
    found = price_list.compare(price, {"agent": list(range(1, 11)), "polished": best}, seed=4)
    gains = {row["name"]: row["gain"] for row in found["batches"]}
    assert gains["polished"] > gains["agent"]
    assert gains["polished"] == pytest.approx(float(price.of([best])[0][0]))
    assert found["random"]["near_zero"]
    assert abs(found["random"]["mean"]) < 0.1 * gains["polished"]
