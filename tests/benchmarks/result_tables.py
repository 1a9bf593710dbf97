"""The tables of a page in docs/results, from the curves and the comparison of a run.

    python tests/benchmarks/result_tables.py RUN [--measure mAP] [--against adaptive]

First the strategies by their mean: boxes at the last cycle, and the difference from random as in comparison.json, with
p after Holm's correction and the verdict; with --against also this strategy less each, paired by seed, t-interval
without a correction, and in how many seeds it is above. Then the values seed by seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from over_sets import over_sets

from mgral.report import comparison, learning_curves
from mgral.report.comparison import Comparison


def signed(mean: float, low: float | None = None, high: float | None = None) -> str:
    """A difference with its interval, a minus sign where it is negative."""
    text = f"{mean:+.3f}" if low is None or high is None else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
    return text.replace("-", "−")


def differences(found: Comparison, measure: str) -> dict[str, str]:
    """Each strategy's difference from random, p and verdict, as cells."""
    return {
        one.strategy: f"{signed(one.mean, one.low, one.high)} | {one.p_holm:.2g} | {comparison.VERDICTS[one.verdict]}"
        for one in found.against(found.reference, measure)
        if one.mean is not None and one.p_holm is not None
    }


def less_each(frame: pd.DataFrame, strategy: str, measure: str) -> dict[str, str]:
    """The strategy less each other, as cells: mean with interval, and seeds in which it is above."""
    cells = {}
    for name, rows in learning_curves.differences(frame, strategy).groupby("strategy"):
        values = -rows[measure].dropna().to_numpy(np.float64)
        mean, reach = over_sets([values])
        cells[str(name)] = f"{signed(mean, mean - reach, mean + reach)} | {int((values > 0).sum())} of {len(values)}"
    return cells


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--measure", choices=learning_curves.MEASURES, default="mAP")
    parser.add_argument("--against")
    given = parser.parse_args()
    frame = learning_curves.read(given.run / "curve.csv")
    found = comparison.read(given.run / "comparison.json")
    values = learning_curves.scores(frame, found.reference).pivot_table(
        index="strategy", columns="seed", values=given.measure
    )
    values = values.loc[values.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    last = frame[frame["cycle"] == frame["cycle"].max()].groupby("strategy")["boxes"].mean()
    cells = differences(found, given.measure)
    other = less_each(frame, given.against, given.measure) if given.against else {}
    title = f" {given.against} less it | above |" if given.against else ""
    print(f"| strategy | {given.measure} | boxes | − {found.reference} | p | verdict |{title}")
    print(f"|---|---|---|---|---|---|{'---|---|' if given.against else ''}")
    for name, row in values.iterrows():
        more = f" {other.get(str(name), '– | –')} |" if given.against else ""
        shown = cells.get(str(name), "– | – | –")
        print(f"| `{name}` | {row.mean():.3f} | {last[name]:.0f} | {shown} |{more}")
    print(f"\n| strategy | {' | '.join(f'seed {seed}' for seed in values.columns)} |")
    print(f"|---|{'---|' * len(values.columns)}")
    for name, row in values.iterrows():
        print(f"| `{name}` | {' | '.join(f'{value:.3f}' for value in row)} |")


if __name__ == "__main__":
    main()
