"""Core-set at full size: 1,000 images of 100,000 × 256, 1,000 labelled; and against the full distance matrix.

Run it as ``python tests/benchmarks/coreset.py``. The full matrix of 101,000 images would need 76 GiB in float64, so the
two are compared where it fits, at 8,000 images, in the same run. The last line is
``ratio=<x> seconds=<y> peak_mib=<z>``: how many times faster than the full matrix at that size, and time and peak
memory of the process, input included (98 MiB), at full size. Vectors lie around 50 centres, as embeddings of a detector
lie around kinds of scenes.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mgral.core.types import Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.coreset import Options, select

DIMS = 256
LABELLED = 1_000
SMALL = 8_000
LARGE = 101_000
BUDGET = 1_000

T = TypeVar("T")


def scenes(count: int) -> Evidence:
    """``count`` images, the first ``LABELLED`` of which are labelled."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, DIMS), np.float32)
    vectors += 3 * rng.standard_normal((50, DIMS), np.float32)[rng.integers(0, 50, count)]
    ids = np.arange(1, count + 1)
    pool = Pool(0, dict.fromkeys(ids[:LABELLED].tolist(), 0), tuple(ids[LABELLED:].tolist()))
    return Evidence(pool, ("thing",), embeddings=Embeddings(ids, vectors))


def full_matrix(evidence: Evidence, budget: int) -> list[int]:
    """Ids by greedy k-center from the matrix of all squared distances, as most public code has it."""
    assert evidence.embeddings is not None
    vectors = evidence.embeddings.vectors.astype(np.float64)
    lengths = (vectors**2).sum(axis=1)
    squares = lengths[:, None] + lengths - 2 * vectors @ vectors.T
    nearest = squares[:, :LABELLED].min(axis=1)
    nearest[:LABELLED] = -1
    picked = []
    for _ in range(budget):
        row = int(nearest.argmax())
        picked.append(int(evidence.embeddings.ids[row]))
        nearest = np.minimum(nearest, squares[:, row])
        nearest[row] = -1
    return picked


def seconds_of(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    evidence = scenes(LARGE)
    seconds, picks = seconds_of(lambda: select(evidence, BUDGET, 0, Options()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    assert len({pick.id for pick in picks}) == BUDGET

    evidence = scenes(SMALL)
    ours, picks = seconds_of(lambda: select(evidence, BUDGET, 0, Options()))
    theirs, ids = seconds_of(lambda: full_matrix(evidence, BUDGET))
    assert [pick.id for pick in picks] == ids, "the two do not pick the same images"
    print(f"{BUDGET} of {SMALL - LABELLED} x {DIMS}: {ours:.2f} s; full matrix {theirs:.2f} s; the same images")
    print(f"ratio={theirs / ours:.2f} seconds={seconds:.1f} peak_mib={peak:.0f}")


if __name__ == "__main__":
    main()
