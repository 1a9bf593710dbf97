"""How much the weights of the price differ, between data sets and between replay splits, by records without a prior.

    python tests/benchmarks/prior_spread.py NAME=FOLDER [NAME=FOLDER ...]

Each FOLDER is one data set: a run, or the OUT of free_rules.py; its tables (records.parquet, of mgral with the
representation growth) are read, and the weights fitted to each replay split by itself. For each number a line with its
weight in each set, the mean over the splits and its standard error (random effects, DerSimonian and Laird 1986); over
the sets the mean, and the standard deviation between sets that is left when the errors are taken off, which
`mgral.reward.bayes.SPREADS` should be of the size of; and the deviations between the splits of each set, which
`BETWEEN_SPLITS` times that should be of the size of. Numbers of a batch are correlated: single weights are uncertain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mgral.core.types import Doubles
from mgral.reward import table_files
from mgral.reward.bayes import BETWEEN_SPLITS, SPREADS
from mgral.reward.growth import FEATURES

LOOSE = 1.0  # mAP per nat: the deviation of a weight before any record, wide enough to say nothing
ROUNDS = 20
START = (0.010, 0.025)  # noise of a record's mAP, and of its classes about it


def splits_of(folder: Path) -> list[tuple[list[Doubles], list[Doubles]]]:
    """Numbers and gains of each replay split, less their means: of records, and of their classes about them."""
    found = []
    tables = [path for path in sorted(folder.rglob("records.parquet")) if "shared" not in path.parts]
    for path in tables or sorted(folder.rglob("records.parquet")):
        records = [one for one in table_files.read_records(path) if one.vector is not None and one.per_class]
        newest = max(one.cycle for one in records)
        for split in sorted({one.split for one in records}):
            some = [one for one in records if (one.cycle, one.split) == (newest, split)]  # carried: in their own table
            numbers = np.array([one.vector for one in some]).reshape(len(some), -1, len(FEATURES))
            ap = np.array([one.per_class for one in some], np.float64)
            known = np.isfinite(ap).all(axis=0)
            numbers, ap = numbers[:, known], ap[:, known]
            numbers, ap = numbers - numbers.mean(axis=0), ap - ap.mean(axis=0)
            mean_x, mean_y = numbers.mean(axis=1), ap.mean(axis=1)
            about = (numbers - mean_x[:, None]).reshape(-1, len(FEATURES)), (ap - mean_y[:, None]).ravel()
            found.append(([mean_x, about[0]], [mean_y, about[1]]))
    return found


def fitted(x: list[Doubles], y: list[Doubles]) -> tuple[Doubles, Doubles]:
    """Weights [F] of one split and their covariance [F, F]; both noises are estimated with them."""
    noise = [one**2 for one in START]
    for _ in range(ROUNDS):
        precision = np.eye(len(FEATURES)) / LOOSE**2 + sum(a.T @ a / s for a, s in zip(x, noise, strict=True))
        covariance: Doubles = np.linalg.inv(precision).astype(np.float64)
        mean = covariance @ sum(a.T @ b / s for a, b, s in zip(x, y, noise, strict=True))
        noise = [
            float(((b - a @ mean) ** 2).sum() / (len(b) - np.trace(covariance @ a.T @ a) / s))
            for a, b, s in zip(x, y, noise, strict=True)
        ]
    return mean, covariance


def between(values: Doubles, variances: Doubles) -> tuple[float, float, float]:
    """Mean of values [S] with the variances [S] of their errors, its error, and the deviation between them."""
    weights = 1 / variances
    mean = float((weights * values).sum() / weights.sum())
    left = float((weights * (values - mean) ** 2).sum()) - (len(values) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    spread = max(0.0, left / scale) if scale > 0 else 0.0
    weights = 1 / (variances + spread)
    return float((weights * values).sum() / weights.sum()), float(weights.sum()) ** -0.5, spread**0.5


def main() -> None:
    """Print the weights by set, and their spread."""
    found = {}
    for word in sys.argv[1:]:
        name, _, folder = word.partition("=")
        splits = [fitted(x, y) for x, y in splits_of(Path(folder))]
        values = np.array([mean for mean, _ in splits])
        variances = np.array([np.diag(covariance) for _, covariance in splits])
        found[name] = [between(values[:, k], variances[:, k]) for k in range(len(FEATURES))]
        print(f"{name}: {len(splits)} replay splits")
    print(f"| number | {' | '.join(found)} | mean | between sets | assumed | between splits | assumed |")
    print("|---" * (len(found) + 6) + "|")
    for k, feature in enumerate(FEATURES):
        of_sets = [one[k] for one in found.values()]
        mean, _, spread = between(np.array([one[0] for one in of_sets]), np.array([one[1] ** 2 for one in of_sets]))
        cells = [f"{value:+.3f} ± {error:.3f}" for value, error, _ in of_sets]
        apart = ", ".join(f"{splits:.3f}" for _, _, splits in of_sets)
        assumed = SPREADS[feature]
        print(
            f"| `{feature}` | {' | '.join(cells)} | {mean:+.3f} | {spread:.3f} | {assumed:.3f} | {apart} | "
            f"{BETWEEN_SPLITS * assumed:.3f} |"
        )


if __name__ == "__main__":
    main()
