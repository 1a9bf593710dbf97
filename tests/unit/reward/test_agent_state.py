"""What the agent reads of a large pool: embeddings stay in their file."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds import scattered, weights

from mgral.agent.policy import Policy, sequence
from mgral.agent.shards import scored
from mgral.core.types import Embeddings
from mgral.detection import npz_files
from mgral.reward import batch_price
from mgral.reward.batch_price import BatchPrice
from mgral.reward.exchanges import polish

IMAGES, WIDTH = 20_000, 256
SIZE = IMAGES * WIDTH * 4  # bytes of the embeddings


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """embeddings.npz of a pool, a few images of which are labelled, and price.npz of the rest."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(IMAGES, WIDTH)).astype(np.float32)
    npz_files.write_embeddings(Embeddings(np.arange(1, IMAGES + 1), vectors), tmp_path / "embeddings.npz")
    pool = scattered(IMAGES - 100)
    pool = replace(pool, ids=np.arange(101, IMAGES + 1), vectors=vectors[100:])
    batch_price.write(BatchPrice(pool, weights(3, learnable=0.1, growth=0.05)), tmp_path / "price.npz")
    return tmp_path / "embeddings.npz", tmp_path / "price.npz"


@pytest.mark.slow
def test_prices_and_scans_of_a_mapped_file_copy_no_embeddings(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = npz_files.read_embeddings(files[0])
    monkeypatch.setattr(npz_files, "MAPPED", 2**20)
    policy = Policy(WIDTH + 8, 5, seed=1)
    ids = range(101, IMAGES + 1)
    wanted = dict(zip(*_scan(policy, batch_price.read(files[1], read), read, ids), strict=True))
    embeddings = npz_files.read_embeddings(files[0])
    tracemalloc.start()
    try:
        price = batch_price.read(files[1], embeddings)
        state = price.agent_state(embeddings)
        assert tracemalloc.get_traced_memory()[1] < SIZE / 2
    finally:
        tracemalloc.stop()
    assert polish(price, list(range(101, 106)), 1) == polish(batch_price.read(files[1], read), list(range(101, 106)), 1)
    found = {
        i: float(s)
        for part, scores in scored(policy, ids, state, shard=4096)
        for i, s in zip(part, scores, strict=True)
    }
    assert found == pytest.approx(wanted, abs=1e-5)


def _scan(policy: Policy, price: BatchPrice, embeddings: Embeddings, ids: range) -> tuple[list[int], list[float]]:
    """Scores by a plain copy of what the agent reads."""
    plain = Embeddings(price.world.ids, np.hstack([embeddings.rows(list(ids)), price.world.state()]))
    ordered, features = sequence(ids, plain, policy)
    return ordered, policy(features).tolist()


@pytest.mark.slow
def test_a_mapped_file_of_half_precision_is_read_as_its_numbers_in_single(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = npz_files.read_embeddings(files[0])
    with npz_files.writing_embeddings(tmp_path / "half.npz", WIDTH, "float16") as add:
        add(read)
    monkeypatch.setattr(npz_files, "MAPPED", 2**20)
    halves = npz_files.read_embeddings(tmp_path / "half.npz")
    assert halves.vectors.dtype == np.float16
    rounded = Embeddings(read.ids, read.vectors.astype(np.float16).astype(np.float32))
    policy, ids = Policy(WIDTH + 8, 5, seed=1), range(101, IMAGES + 1)
    prices = [batch_price.read(files[1], one) for one in (halves, rounded)]
    states = [price.agent_state(one) for price, one in zip(prices, (halves, rounded), strict=True)]
    assert states[0].rows([101, 200]).dtype == np.float32
    scans = [[scores for _, scores in scored(policy, ids, state, shard=4096)] for state in states]
    assert all(np.array_equal(a, b) for a, b in zip(*scans, strict=True))
    first = list(range(101, 106))
    assert polish(prices[0], first, 1) == polish(prices[1], first, 1)
