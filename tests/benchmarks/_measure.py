"""What the benchmarks share: made-up pools, their tables, and the last line."""

from __future__ import annotations

import argparse
import resource
import sys
from typing import Any

import numpy as np
import torch

from mgral.config.schema import Search, Table
from mgral.core.types import Embeddings, Record
from mgral.reward.lookup_table import LookupTable

TABLE: dict[str, Any] = {
    "representation": "embedding",
    "centroids": 32,
    "surrogate": "nearest",
    "neighbours": 5,
    "threshold_deviations": 1.0,
    "far_uncertainty": 0.9,
}
SEARCH: dict[str, Any] = {
    "subsets": 4,
    "learning_rate": 0.001,
    "baseline": "moving",
    "baseline_decay": 0.5,
    "temperature": 1.0,
    "entropy_bonus": 0.0,
    "patience": 0,
    "fallback": 0,
    "checkpoint_every": 0,
}


def small(what: str, threads: int) -> bool:
    """Read the command line, fix the threads; True for the quick check (``--small``)."""
    return bool(read(what, threads).small)


def read(what: str, threads: int, **counts: int) -> argparse.Namespace:
    """The command line with further whole numbers, given with their defaults; fixes the threads."""
    parser = argparse.ArgumentParser(description=what)
    for name, default in counts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--threads", type=int, default=threads, help=f"default {threads}; 1 on a busy machine")
    parser.add_argument("--small", action="store_true", help="a quick check that it runs; its figures mean nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def pool(images: int, width: int) -> Embeddings:
    """Non-negative embeddings, as a detector's pooled backbone_features are."""
    vectors = np.random.default_rng(0).standard_normal((images, width), dtype=np.float32)
    return Embeddings(np.arange(1, images + 1), np.abs(vectors, out=vectors))


def table(embeddings: Embeddings, records: int, batch: int) -> LookupTable:
    """Random batches with random mAP."""
    rng = np.random.default_rng(1)
    drawn = [tuple(sorted(rng.choice(embeddings.ids, batch, replace=False).tolist())) for _ in range(records)]
    found = [Record(ids, "random", float(rng.uniform(0.2, 0.3)), 1.0) for ids in drawn]
    return LookupTable(found, embeddings, Table(**TABLE))


def search_params(iterations: int) -> Search:
    return Search(iterations=iterations, **SEARCH)


def peak_mib() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def last_line(ratio: float | None, seconds: float, peak: float) -> None:
    print(f"ratio={'-' if ratio is None else f'{ratio:.1f}'} seconds={seconds:.4g} peak_mib={peak:.0f}")
