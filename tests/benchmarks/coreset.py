"""Core-set at full size: 1,000 images of 100,000 × 256, 1,000 labelled; and against the full distance matrix.

Run it as ``python tests/benchmarks/coreset.py``. The full matrix of 101,000 images would need 76 GiB in float64, so the
two are compared where it fits, at 8,000 images, in the same run. The last line is
``ratio=<x> seconds=<y> peak_mib=<z>``: how many times faster than the full matrix at that size, and time and peak
memory of the process, input included (98 MiB), at full size. Times are of the processor, so that other work on the
machine does not count. Vectors lie around 50 centres, as embeddings of a detector
lie around kinds of scenes. To reach: ratio 10.

With scikit-activeml or small-text installed beside mgral (neither is a requirement), their time a pick on the same
vectors is printed too, and how many of ours fit into it; to reach: 20. They pick a few images only, since each pick
reads all vectors.
"""

from __future__ import annotations

import functools
import importlib.metadata
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import _measure
import numpy as np

from mgral.core.types import Embeddings, Floats
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies.coreset import Options, select

DIMS = 256
LABELLED = 1_000
SMALL = 8_000
LARGE = 101_000
BUDGET = 1_000
PEER_PICKS = 20

T = TypeVar("T")
Query = Callable[[Floats, int], None]  # of vectors, the first LABELLED of which are labelled, and how many to pick


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


def scikit_activeml() -> Query:
    """``skactiveml.pool.CoreSet``, as its documentation calls it: labels are missing where they are not a number."""
    from skactiveml.pool import CoreSet

    def query(vectors: Floats, budget: int) -> None:
        labels = np.full(len(vectors), np.nan)
        labels[:LABELLED] = 0
        CoreSet(random_state=0).query(vectors, labels, batch_size=budget)

    return query


def small_text() -> Query:
    """``small_text``'s greedy core-set on embeddings, by Euclidean distance."""
    from small_text.query_strategies.coresets import greedy_coreset

    def query(vectors: Floats, budget: int) -> None:
        every = np.arange(len(vectors))
        greedy_coreset(vectors, every[LABELLED:], every[:LABELLED], budget, distance_metric="euclidean")

    return query


def peers(vectors: Floats, ours: float) -> None:
    """One line for each that is installed; ``ours`` is in seconds a pick."""
    for package, imported in (("scikit-activeml", scikit_activeml), ("small-text", small_text)):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{package}: not installed")
            continue
        query = imported()
        query(vectors[: LABELLED + 100], 2)  # what it imports and compiles in its first call is not a pick's
        one, _ = seconds_of(functools.partial(query, vectors, 1))
        several, _ = seconds_of(functools.partial(query, vectors, 1 + PEER_PICKS))
        each = (several - one) / PEER_PICKS
        print(
            f"{package} {version}: {one:.1f} s to the first pick, then {each:.3f} s a pick, {each / ours:.0f} of ours"
        )


def seconds_of(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    small = _measure.small(__doc__ or "", threads=1)
    large, middle, budget = (4_000, 2_000, 100) if small else (LARGE, SMALL, BUDGET)
    evidence = scenes(large)
    seconds, picks = seconds_of(lambda: select(evidence, budget, 0, Options()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    assert len({pick.id for pick in picks}) == budget
    first, _ = seconds_of(lambda: select(evidence, 1, 0, Options()))
    each = (seconds - first) / (budget - 1)
    print(f"{budget} of {large - LABELLED} x {DIMS}: {first:.2f} s to the first pick, then {1e3 * each:.2f} ms a pick")
    assert evidence.embeddings is not None
    peers(evidence.embeddings.vectors, each)

    evidence = scenes(middle)
    ours, picks = seconds_of(lambda: select(evidence, budget, 0, Options()))
    theirs, ids = seconds_of(lambda: full_matrix(evidence, budget))
    assert [pick.id for pick in picks] == ids, "the two do not pick the same images"
    print(f"{budget} of {middle - LABELLED} x {DIMS}: {ours:.2f} s; full matrix {theirs:.2f} s; the same images")
    print(f"ratio={theirs / ours:.2f} seconds={seconds:.1f} peak_mib={peak:.0f}")


if __name__ == "__main__":
    main()
