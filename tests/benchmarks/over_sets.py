"""One strategy less each of the others, in the mean over several data sets that weigh the same.

    python tests/benchmarks/over_sets.py adaptive RUN/curve.csv [RUN/curve.csv ...] [--measure mAP] [--sets 7] \
        [--figure OUT.png]

A line for each strategy that all files have, or `--sets` of them: the mean of the paired differences of each set, and
the mean over sets with its 95 % t-interval, degrees of freedom after Welch and Satterthwaite. No correction for the
number of lines. A strategy with at least two pairs in too few of the files is named below. The figure shows the same: a
small dot for each set, a marker for the mean, filled where the interval does not contain 0.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from mgral.core.types import Doubles
from mgral.report import figures, learning_curves
from mgral.report.comparison import Difference


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


def row_of_figure(strategy: str, other: str, measure: str, sets: Sequence[Doubles]) -> Difference:
    """What one line says, with data sets in the place of seeds."""
    mean, reach = over_sets(sets)
    return Difference(
        strategy=other,
        reference=strategy,
        measure=measure,
        seeds=list(range(len(sets))),
        by_seed=[float(one.mean()) for one in sets],
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        p=None,
        p_holm=None,
        floor=None,
        verdict="undetected" if abs(mean) <= reach else "better" if mean > 0 else "worse",
    )


def main() -> None:
    """Print the table, and draw it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategy")
    parser.add_argument("curves", nargs="+", type=Path)
    parser.add_argument("--measure", choices=learning_curves.MEASURES, default="mAP")
    parser.add_argument("--sets", type=int, help="take a strategy that so many of the files have; all without it")
    parser.add_argument("--figure", type=Path, help="PNG to draw the table in")
    given = parser.parse_args()
    tables = [learning_curves.differences(learning_curves.read(path), given.strategy) for path in given.curves]
    found = [
        {str(name): -rows[given.measure].dropna().to_numpy(np.float64) for name, rows in table.groupby("strategy")}
        for table in tables
    ]
    lines: list[tuple[Difference, str]] = []
    left_out = []
    for name in sorted(set().union(*found) - {given.strategy}):
        known = [one.get(name, np.empty(0)) for one in found]
        sets = [one for one in known if len(one) > 1]
        if len(sets) < (given.sets or len(found)):
            left_out.append(f"left out: {name}, with two pairs or more in {len(sets)} of {len(found)} files")
            continue
        row = row_of_figure(given.strategy, name, given.measure, sets)
        each = " | ".join(f"{one.mean():+.3f} ({len(one)} seeds)" if len(one) > 1 else "–" for one in known)
        lines.append((row, f"| `{name}` | {each} | {row.mean:+.3f} ({row.low:+.3f} to {row.high:+.3f}) |"))
    lines.sort(key=lambda line: line[0].mean or 0.0)
    print(f"{given.strategy} less each, {given.measure}:")
    print("\n".join([*(line for _, line in lines), *left_out]))
    if given.figure:
        rows = [row for row, _ in lines]
        looks = figures.looks([row.strategy for row in rows], "random")
        what = f"{given.measure} of {given.strategy} less that of each"
        given.figure.write_bytes(figures.png(figures.differences(rows, looks, what, floor=None)))


if __name__ == "__main__":
    main()
