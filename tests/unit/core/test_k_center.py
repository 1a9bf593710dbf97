"""Greedy k-center in blocks, against the matrix of all distances in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.core import k_center
from mgral.core.k_center import Cover, farthest_points
from mgral.core.types import Doubles, Floats

KINDS = ("grid", "normal", "clusters", "copies")


def made(kind: str, count: int, seed: int) -> Floats:
    """[count, 5] vectors: with many ties, without, around few centres, or most of them copies of others."""
    rng = np.random.default_rng(seed)
    if kind == "grid":
        return rng.integers(0, 3, (count, 5)).astype(np.float32)
    if kind == "normal":
        return rng.standard_normal((count, 5), np.float32) + np.float32(100)
    if kind == "clusters":
        return 10 * rng.integers(0, 3, (count, 5)).astype(np.float32) + rng.standard_normal((count, 5), np.float32)
    return rng.standard_normal((count, 5), np.float32)[rng.integers(0, max(count // 4, 1), count)]


def squares_of(one: Floats, other: Floats) -> Doubles:
    squares: Doubles = ((one[:, None].astype(np.float64) - other) ** 2).sum(axis=2)
    return squares


def plain(squares: Doubles, known: Doubles, nearest: list[int], count: int) -> list[tuple[int, float, int]]:
    """Row, distance and nearest centre of each pick, from the matrix; ``known`` [N, M] of the centres before."""
    rows = np.arange(len(squares))
    smallest = known.min(axis=1)
    named = np.array(nearest)[known.argmin(axis=1)]
    picks = []
    for _ in range(count):
        row = int(smallest.argmax())
        picks.append((row, float(np.sqrt(smallest[row])), int(named[row])))
        nearer = squares[row] < smallest
        smallest, named = np.where(nearer, squares[row], smallest), np.where(nearer, row, named)
        smallest[rows == row] = -1
    return picks


@given(st.sampled_from(KINDS), st.integers(2, 60), st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 40))
def test_the_same_picks_as_from_the_full_matrix(kind: str, count: int, seed: int, few: int, side: int) -> None:
    vectors, centres = made(kind, count, seed), made(kind, 7, seed)
    expected = plain(squares_of(vectors, vectors), squares_of(vectors, centres), list(range(500, 507)), count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(k_center, "ROWS", side)
        patch.setattr(k_center, "CENTRES", 1 + side // 3)
        patch.setattr(k_center, "CANDIDATES", few)
        cover = Cover(vectors)
        cover.add(centres, np.arange(500, 507))
        picks = []
        for _ in range(count):
            row = cover.farthest()
            picks.append((row, cover.radius, int(cover.nearest[row])))
            cover.take(row, row)
    assert picks == expected
    assert cover.radius == 0.0


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 1000.0]), st.integers(1, 40))
def test_distances_are_exact_whatever_the_blocks(seed: int, mean: float, side: int) -> None:
    """Each distance is the float64 one bit for bit, and the first of the nearest centres is named."""
    rng = np.random.default_rng(seed)
    vectors = (mean + rng.integers(0, 3, (60, 5))).astype(np.float32)  # a small grid: many ties and copies
    vectors += np.float32(0.1) * rng.integers(0, 2, (60, 5))
    images, centres = vectors[:40], vectors[40:]
    squares = squares_of(images, centres)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(k_center, "ROWS", side)
        patch.setattr(k_center, "CENTRES", 1 + side // 3)
        cover = Cover(images)
        cover.add(centres, np.arange(500, 520))
    assert (cover.squares == squares.min(axis=1)).all()
    assert (cover.nearest == 500 + squares.argmin(axis=1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_farthest_points_from_a_start(kind: str) -> None:
    vectors = made(kind, 50, 3)
    squares = squares_of(vectors, vectors)
    known = squares[:, [4]]
    known[4] = -1
    expected = plain(squares, known, [4], 29)
    rows, distances = farthest_points(vectors, 30, 4)
    assert rows.tolist() == [4, *(row for row, _, _ in expected)]
    assert distances.tolist() == [np.inf, *(distance for _, distance, _ in expected)]


def test_a_pass_serves_many_steps() -> None:
    """200 steps over 3,000 vectors read them all at most one time in twenty; copies at the end not at all."""
    vectors = np.random.default_rng(0).standard_normal((3_000, 32), np.float32)
    cover = Cover(np.concatenate([vectors, vectors]))
    cover.take(0, 0)
    for _ in range(200):
        cover.take(cover.farthest(), 1)
    assert 1 <= cover.passes <= 20
    cover = Cover(np.repeat(vectors[:3], 200, axis=0))
    for _ in range(600):
        cover.take(cover.farthest(), 1)
    assert cover.passes <= 3
