"""A selection of 1,000 from a million images: twenty iterations of the search, then the scan that picks.

python tests/benchmarks/million.py. To reach: 600 seconds on two cores, and 4,096 MiB. No plain implementation: its
graph alone would not fit. With --iterations 2 it takes a tenth of the time, and as much memory. --train-on 50000
searches on so many images and scans all of them once.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import _measure

from mgral.agent import reinforce
from mgral.agent.policy import Policy
from mgral.data.evidence import Evidence
from mgral.data.pool import Pool
from mgral.strategies import mgral

THREADS = 2
IMAGES, WIDTH, HIDDEN = 1_000_000, 256, 257
BATCH, RECORDS = 1_000, 200
ITERATIONS = 20
CHUNK = 20_000
PARALLEL = 64  # as params/base.yaml has it


def main() -> None:
    given = _measure.read(__doc__ or "", THREADS, iterations=ITERATIONS, train_on=0)
    images, iterations = (50_000, 2) if given.small else (IMAGES, given.iterations)
    embeddings = _measure.pool(images, WIDTH)
    table = _measure.table(embeddings, RECORDS, BATCH)
    ids = tuple(embeddings.ids.tolist())
    start, worked = time.perf_counter(), time.process_time()
    policy = Policy(WIDTH, HIDDEN, 0, CHUNK, PARALLEL)
    params = _measure.search_params(iterations)
    result = reinforce.run(policy, embeddings, ids, table, BATCH, params, 0, train_on=given.train_on)
    searched, search_work = time.perf_counter() - start, time.process_time() - worked
    with TemporaryDirectory() as folder:
        agent = Path(folder) / "agent.safetensors"
        result.policy.save(agent)
        evidence = Evidence(pool=Pool(0, {}, ids), classes=("any",), embeddings=embeddings, agent=agent)
        picks = mgral.select(evidence, BATCH, 0, mgral.Options())
    seconds = time.perf_counter() - start
    print(f"{images} images, {iterations} iterations: {searched:.1f} s, of them {search_work:.1f} s on a processor")
    print(f"picking {len(picks)}: {seconds - searched:.1f} s")
    _measure.last_line(None, seconds, _measure.peak_mib())


if __name__ == "__main__":
    main()
