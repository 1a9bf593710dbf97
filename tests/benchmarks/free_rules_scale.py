"""The greedy rules without a reward at full size: 1,000 of 100,000 × 256 images, 1,000 labelled, 20 classes.

Run it as ``python tests/benchmarks/free_rules_scale.py [--images N]``. The last line is ``seconds=<y> peak_mib=<z>``:
processor time of ``balanced`` and ``growth`` together, and peak memory of the process. Memory grows with the number of
images, not with its square.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from mgral.reward.signals import Growing, Signals, greedy

DIMS, CLASSES, LABELLED, BUDGET = 256, 20, 1_000, 1_000


def crowd(count: int) -> Signals:
    """``count`` candidates around 50 centres, as embeddings of a detector lie around kinds of scenes."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((50, DIMS), np.float32)
    vectors = rng.standard_normal((count + LABELLED, DIMS), np.float32)
    vectors += centres[rng.integers(0, 50, count + LABELLED)]
    by_class = rng.gamma(0.5, 0.2, (count, CLASSES))
    boxes = np.full(CLASSES, 50.0)
    ids = np.arange(1, count + 1)
    return Signals(ids, by_class.sum(axis=1), by_class, by_class, boxes, vectors[LABELLED:], vectors[:LABELLED])


def main() -> None:
    """Time both rules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="default 100,000")
    parser.add_argument("--small", action="store_true", help="a quick check that it runs; its figures mean nothing")
    given = parser.parse_args()
    signals = crowd(2_000 if given.small else given.images)
    began = time.process_time()
    print(f"coverage scale {signals.scale:.3f}: {time.process_time() - began:.1f} s")
    scores = signals.balanced.tolist()
    greedy(signals, BUDGET, lambda row, discount: discount * scores[row], lambda row, discount: None)
    print(f"and balanced: {time.process_time() - began:.1f} s")
    batch = Growing(signals, np.ones(CLASSES))
    greedy(signals, BUDGET, batch.gain, batch.add)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of this process, which does not import torch
    print(f"seconds={seconds:.1f} peak_mib={peak:.0f}")


if __name__ == "__main__":
    main()
