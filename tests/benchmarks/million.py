"""A selection of 1,000 from a million images: twenty iterations of the search, then the scan that picks.

python tests/benchmarks/million.py. To reach: 600 seconds on two cores, and 4,096 MiB. No plain implementation: its
graph alone would not fit. The embeddings lie in a file, 1 GB, and are mapped from it. The search scans a random part
of the images (``agent.train_on``), --train-on 50000 by default and 0 for all; the choice scans all once, in shards.

--half 1 keeps the embeddings in half precision (``embedding.precision: float16``), half a gigabyte; afterwards the same
agent picks from those of full precision too, and the lines say by how much the scores and the picks differ.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import _measure
import numpy as np

from mgral.agent import reinforce
from mgral.agent.policy import Policy
from mgral.agent.shards import scored
from mgral.core.types import Embeddings
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.detection import npz_files
from mgral.strategies import mgral

THREADS = 2
IMAGES, WIDTH, HIDDEN = 1_000_000, 256, 257
BATCH, RECORDS = 1_000, 200
ITERATIONS = 20
CHUNK = 20_000
TRAIN_ON = 50_000
PART = 50_000  # images written at a time
PARALLEL = 64  # as params/base.yaml has it


def main() -> None:
    given = _measure.read(__doc__ or "", THREADS, iterations=ITERATIONS, train_on=TRAIN_ON, half=0)
    images, iterations = (10_000, 1) if given.small else (IMAGES, given.iterations)
    with TemporaryDirectory() as folder:
        run(Path(folder), images, iterations, given.train_on, bool(given.half))


def written(path: Path, images: int, precision: npz_files.Precision) -> Embeddings:
    """The same random embeddings in any precision."""
    rng = np.random.default_rng(0)
    with npz_files.writing_embeddings(path, WIDTH, precision) as add:
        for first in range(1, images + 1, PART):
            some = np.arange(first, min(first + PART, images + 1))
            add(Embeddings(some, np.abs(rng.standard_normal((len(some), WIDTH), np.float32))))
    return npz_files.read_embeddings(path)


def compare(policy: Policy, halves: Embeddings, folder: Path, picks: list[int]) -> None:
    """The scan of the embeddings in half precision beside that of the same in full precision."""
    wholes = written(folder / "whole.npz", len(halves.ids), "float32")
    half, whole = ([*scored(policy, halves.ids.tolist(), one)] for one in (halves, wholes))
    scores = np.concatenate([some for _, some in whole])
    worst = max(np.abs(a - b).max() for (_, a), (_, b) in zip(half, whole, strict=True))
    order = np.concatenate([some for some, _ in whole])
    best = set(order[np.argsort(-scores, kind="stable")[: len(picks)]].tolist())
    print(f"half precision: scores differ by at most {worst:.2g}, their standard deviation is {scores.std():.2g}")
    print(f"half precision: of {len(picks)} picks {len(best & set(picks))} are those of full precision")


def run(folder: Path, images: int, iterations: int, train_on: int, half: bool) -> None:
    embeddings = written(folder / "embeddings.npz", images, "float16" if half else "float32")
    table = _measure.table(embeddings, RECORDS, BATCH)
    ids = tuple(embeddings.ids.tolist())
    start, worked = time.perf_counter(), time.process_time()
    policy = Policy(WIDTH, HIDDEN, 0, CHUNK, PARALLEL)
    params = _measure.search_params(iterations)
    result = reinforce.run(policy, embeddings, ids, table, BATCH, params, 0, train_on=train_on)
    searched, search_work = time.perf_counter() - start, time.process_time() - worked
    agent = folder / "agent.safetensors"
    result.policy.save(agent)
    evidence = Evidence(pool=Pool(0, {}, ids), classes=("any",), embeddings=embeddings, agent=agent)
    picks = mgral.select(evidence, BATCH, 0, mgral.Options())
    seconds = time.perf_counter() - start
    work = time.process_time() - worked
    print(f"{images} images, {iterations} iterations on {train_on or images} of them")
    print(f"search: {searched:.1f} s by the clock, {search_work:.1f} s of processor time")
    print(
        f"picking {len(picks)}: {seconds - searched:.1f} s by the clock, {work - search_work:.1f} s of processor time"
    )
    peak = _measure.peak_mib()
    if half:
        compare(result.policy, embeddings, folder, [pick.id for pick in picks])
    _measure.last_line(None, seconds, peak)


if __name__ == "__main__":
    main()
