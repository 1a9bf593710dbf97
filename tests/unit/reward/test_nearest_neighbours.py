"""The nearest vectors, to the last bit, in whichever way FAISS ranks them."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from mgral.core.types import Floats
from mgral.reward.nearest_neighbours import MOST, Neighbours, flat_index

WITHOUT_GPU = not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus()


@pytest.fixture(autouse=True, params=["differences", "products"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which FAISS comes to a distance; on a GPU it knows the second alone."""
    queries = 1 if request.param == "products" else 2**30  # from so many on it takes products
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", queries)
    return str(request.param)


def loop(vectors: Floats, queries: Floats, count: int) -> tuple[list[list[float]], list[list[int]]]:
    """Every distance in double precision, sorted; equal ones stay in the vectors' order."""
    rows, distances = [], []
    for query in queries.astype(np.float64):
        every = np.array([np.sqrt(((vector - query) ** 2).sum()) for vector in vectors.astype(np.float64)])
        rows.append(np.argsort(every, kind="stable")[:count].tolist())
        distances.append(every[rows[-1]].tolist())
    return distances, rows


def two_clusters() -> Floats:
    """Thirty vectors at -2^20 and thirty at 2^20, a step of 1 apart: beside a square of 2^40 a step rounds away."""
    steps = np.arange(30)
    return np.concatenate([np.stack([np.full(30, sign * 2.0**20), steps], axis=1) for sign in (-1, 1)]).astype(
        np.float32
    )


def test_distances_on_a_line() -> None:
    # Vector k is at (2^20 + 3k, 4k): two of them are 5 |i - j| apart. Of equally near ones the first in order.
    vectors = np.array([[2**20 + 3 * k, 4 * k] for k in range(40)], np.float32)
    distances, rows = Neighbours(vectors).search(vectors[[7, 0]], 4)
    assert distances.tolist() == [[0, 5, 5, 10], [0, 5, 10, 15]]
    assert rows.tolist() == [[7, 6, 8, 5], [0, 1, 2, 3]]


def test_rounding_hides_no_neighbour(arithmetic: str) -> None:
    vectors = two_clusters()
    rough, _ = flat_index(vectors).search(vectors, 3)
    assert (rough[:, :2] == [0, 1]).all() == (arithmetic == "differences")  # by products FAISS alone does not see them
    distances, rows = Neighbours(vectors).search(vectors, 3)
    # In a cluster's middle, a vector and the two beside it; at its ends, the two that follow.
    assert distances[:30].tolist() == [[0, 1, 2], *[[0, 1, 1]] * 28, [0, 1, 2]]
    assert rows[:30].tolist() == [[0, 1, 2], *([k, k - 1, k + 1] for k in range(1, 29)), [29, 28, 27]]
    assert distances[30:].tolist() == distances[:30].tolist()
    assert rows[30:].tolist() == (rows[:30] + 30).tolist()


def test_of_many_equals_the_first_count() -> None:
    vectors = np.repeat(np.array([[5, 0], [0, 0]], np.float32), [2, 300], axis=0)
    distances, rows = Neighbours(vectors).search(np.zeros((30, 2), np.float32), 3)
    assert distances.tolist() == [[0, 0, 0]] * 30
    assert rows.tolist() == [[2, 3, 4]] * 30


def test_ties_at_the_last_place_all_count() -> None:
    vectors = np.array([[0], [2], [-2], [5], [-5]], np.float32)
    distances, rows = Neighbours(vectors).search_with_ties(np.array([[0], [4]], np.float32), 2)
    assert distances.tolist() == [[0, 2, 2], [1, 2, np.inf]]  # at 4: vector 3 is at 1, vector 1 at 2, the next at 4
    assert rows.tolist() == [[0, 1, 2], [3, 1, 0]]
    assert Neighbours(vectors).search_with_ties(np.zeros((1, 1), np.float32), 99)[1].tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("count", [1, 3, 20, 99])
@pytest.mark.parametrize("kind", ["spread", "far away", "whole numbers", "of all sizes", "huge"])
def test_the_answer_is_that_of_a_plain_loop(kind: str, count: int) -> None:
    rng = np.random.default_rng(count)
    vectors = rng.normal(size=(70, 24))
    vectors = {
        "spread": vectors,
        "far away": vectors + 1e5,
        "whole numbers": vectors > 1,  # many ties
        "of all sizes": vectors * 10.0 ** rng.uniform(-6, 6, (70, 1)),
        "huge": vectors * 1e25,  # squares that single precision does not hold
    }[kind].astype(np.float32)
    queries = np.concatenate([vectors[::2], vectors[:9] + np.float32(0.01)])
    with np.errstate(all="raise", under="ignore"):
        distances, rows = Neighbours(vectors).search(queries, count)
    expected = loop(vectors, queries, count)
    assert rows.tolist() == expected[1]
    assert distances.tolist() == expected[0]
    alone = [Neighbours(vectors).search(query[None], count) for query in queries]
    assert np.concatenate([one for one, _ in alone]).tobytes() == distances.tobytes()


def test_a_gpu_that_is_asked_for_and_absent_changes_nothing() -> None:
    vectors = two_clusters()
    for one, other in zip(*(Neighbours(vectors, gpu).search(vectors, 5) for gpu in (True, False)), strict=True):
        assert one.tobytes() == other.tobytes()


def test_faiss_without_gpu_code_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)  # as faiss-cpu is
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    assert isinstance(flat_index(two_clusters(), gpu=True), faiss.IndexFlatL2)


@pytest.mark.skipif(WITHOUT_GPU, reason="FAISS sees no GPU")
def test_a_gpu_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    on_gpu = flat_index(two_clusters(), gpu=True)
    assert isinstance(on_gpu, faiss.GpuIndexFlat)
    for vectors in (
        two_clusters(),
        (1000 + rng.normal(size=(400, 256))).astype(np.float32),
        rng.normal(size=(MOST + 1, 8)).astype(np.float32),  # one more than a GPU ranks
    ):
        for queries in (vectors[:4], vectors):
            (near, rows), (on_gpu_near, on_gpu_rows) = (
                Neighbours(vectors, gpu).search(queries, 6) for gpu in (False, True)
            )
            assert on_gpu_rows.tolist() == rows.tolist()
            assert on_gpu_near.tobytes() == near.tobytes()
