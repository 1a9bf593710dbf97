"""A selection of 1,000 from a million images: twenty iterations of the search, then the scan that picks.

python tests/benchmarks/million.py. To reach: 600 seconds on two cores, and 4,096 MiB. No plain implementation: its
graph alone would not fit. The embeddings lie in a file, 1 GB, and are mapped from it. The search scans a random part
of the images (``agent.train_on``), --train-on 50000 by default and 0 for all; the choice scans all once, in shards.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import _measure
import numpy as np

from mgral.agent import reinforce
from mgral.agent.policy import Policy
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
    given = _measure.read(__doc__ or "", THREADS, iterations=ITERATIONS, train_on=TRAIN_ON)
    images, iterations = (50_000, 2) if given.small else (IMAGES, given.iterations)
    with TemporaryDirectory() as folder:
        run(Path(folder), images, iterations, given.train_on)


def run(folder: Path, images: int, iterations: int, train_on: int) -> None:
    written, rng = folder / "embeddings.npz", np.random.default_rng(0)
    with npz_files.writing_embeddings(written, WIDTH) as add:
        for first in range(1, images + 1, PART):
            some = np.arange(first, min(first + PART, images + 1))
            add(Embeddings(some, np.abs(rng.standard_normal((len(some), WIDTH), np.float32))))
    embeddings = npz_files.read_embeddings(written)
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
    _measure.last_line(None, seconds, _measure.peak_mib())


if __name__ == "__main__":
    main()
