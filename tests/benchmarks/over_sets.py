"""One strategy less each of the others, in the mean over several data sets that weigh the same.

    python tests/benchmarks/over_sets.py adaptive RUN/curve.csv [RUN/curve.csv ...] [--measure mAP]

A line for each strategy that all files have: the mean of the paired differences of each set, and the mean over sets
with its 95 % t-interval, degrees of freedom after Welch and Satterthwaite. No correction for the number of lines. A
strategy of which a file has fewer than two pairs is named below, with the file.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from mgral.core.types import Doubles
from mgral.report import learning_curves


def over_sets(sets: Sequence[Doubles]) -> tuple[float, float]:
    """Mean over sets of the mean difference, and half the width of its 95 % interval.

    Args:
        sets: the paired differences of each data set, at least two of a set.
    """
    errors = np.array([one.var(ddof=1) / len(one) for one in sets]) / len(sets) ** 2
    mean, error = float(np.mean([one.mean() for one in sets])), float(errors.sum())
    if error == 0:
        return mean, 0.0
    freedom = error**2 / sum(e**2 / (len(one) - 1) for e, one in zip(errors, sets, strict=True))
    return mean, float(stats.t.ppf(0.975, freedom)) * math.sqrt(error)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategy")
    parser.add_argument("curves", nargs="+", type=Path)
    parser.add_argument("--measure", choices=learning_curves.MEASURES, default="mAP")
    given = parser.parse_args()
    tables = [learning_curves.differences(learning_curves.read(path), given.strategy) for path in given.curves]
    found = [
        {str(name): -rows[given.measure].dropna().to_numpy(np.float64) for name, rows in table.groupby("strategy")}
        for table in tables
    ]
    lines, left_out = [], []
    for name in sorted(set().union(*found) - {given.strategy}):
        if few := [str(path) for path, one in zip(given.curves, found, strict=True) if len(one.get(name, ())) < 2]:
            left_out.append(f"left out: {name}, of which {few[0]} has fewer than two pairs")
            continue
        sets = [one[name] for one in found]
        mean, reach = over_sets(sets)
        each = " | ".join(f"{one.mean():+.3f} ({len(one)} seeds)" for one in sets)
        lines.append((mean, f"| `{name}` | {each} | {mean:+.3f} ({mean - reach:+.3f} to {mean + reach:+.3f}) |"))
    print(f"{given.strategy} less each, {given.measure}:")
    print("\n".join([*(line for _, line in sorted(lines)), *left_out]))


if __name__ == "__main__":
    main()
