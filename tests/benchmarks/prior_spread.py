"""How much the weights of the price differ between data sets: what replay records of several sets say, without a prior.

    python tests/benchmarks/prior_spread.py NAME=FOLDER [NAME=FOLDER ...]

Each FOLDER is one data set: a run, or the OUT of free_rules.py; its tables (records.parquet, of mgral with the
representation growth) are pooled, those of one table being compared with each other alone. For each number of the
representation a line with the weight in each set and its standard error, and over the sets the mean, and the standard
deviation between sets that is left when the errors are taken off (DerSimonian and Laird 1986): a line of
`mgral.reward.bayes.SPREADS` should be of its size. Numbers of a batch are correlated, so single weights are uncertain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mgral.core.types import Doubles
from mgral.reward import table_files
from mgral.reward.bayes import SPREADS
from mgral.reward.growth import FEATURES

LOOSE = 1.0  # mAP per nat: the deviation of a weight before any record, wide enough to say nothing
ROUNDS = 20
START = (0.010, 0.025)  # noise of a record's mAP, and of its classes about it


def records_of(folder: Path) -> tuple[list[Doubles], list[Doubles], int]:
    """Numbers and gains of a set, less the means of their table: of records, and of their classes about them."""
    x: tuple[list[Doubles], list[Doubles]] = ([], [])
    y: tuple[list[Doubles], list[Doubles]] = ([], [])
    tables = [path for path in sorted(folder.rglob("records.parquet")) if "shared" not in path.parts]
    for path in tables or sorted(folder.rglob("records.parquet")):
        records = [one for one in table_files.read_records(path) if one.vector is not None and one.per_class]
        newest = max(one.cycle for one in records)
        records = [one for one in records if one.cycle == newest]  # those that were carried are in their own table
        numbers = np.array([one.vector for one in records]).reshape(len(records), -1, len(FEATURES))
        ap = np.array([one.per_class for one in records], np.float64)
        known = np.isfinite(ap).all(axis=0)
        numbers, ap = numbers[:, known], ap[:, known]
        numbers, ap = numbers - numbers.mean(axis=0), ap - ap.mean(axis=0)
        mean_x, mean_y = numbers.mean(axis=1), ap.mean(axis=1)
        x[0].append(mean_x)
        y[0].append(mean_y)
        x[1].append((numbers - mean_x[:, None]).reshape(-1, len(FEATURES)))
        y[1].append((ap - mean_y[:, None]).ravel())
    return [np.concatenate(part) for part in x], [np.concatenate(part) for part in y], len(y[0])


def fitted(x: list[Doubles], y: list[Doubles]) -> tuple[Doubles, Doubles]:
    """Weights [F] of one set and their covariance [F, F]; both noises are estimated with them."""
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


def between(values: Doubles, variances: Doubles) -> tuple[float, float]:
    """Mean over sets and standard deviation between them, from values [S] with the variances [S] of their errors."""
    weights = 1 / variances
    mean = float((weights * values).sum() / weights.sum())
    left = float((weights * (values - mean) ** 2).sum()) - (len(values) - 1)
    return mean, max(0.0, left / float(weights.sum() - (weights**2).sum() / weights.sum())) ** 0.5


def main() -> None:
    """Print the weights by set, and their spread."""
    found = {}
    for word in sys.argv[1:]:
        name, _, folder = word.partition("=")
        x, y, tables = records_of(Path(folder))
        found[name] = fitted(x, y)
        print(f"{name}: {len(y[0])} records of {tables} tables")
    print(f"| number | {' | '.join(found)} | mean | spread | in bayes.SPREADS |")
    print("|---" * (len(found) + 4) + "|")
    for k, feature in enumerate(FEATURES):
        values = np.array([mean[k] for mean, _ in found.values()])
        variances = np.array([covariance[k, k] for _, covariance in found.values()])
        mean, spread = between(values, variances) if len(values) > 1 else (float(values[0]), float("nan"))
        cells = [f"{value:+.3f} ± {variance**0.5:.3f}" for value, variance in zip(values, variances, strict=True)]
        print(f"| `{feature}` | {' | '.join(cells)} | {mean:+.3f} | {spread:.3f} | {SPREADS[feature]:.2f} |")


if __name__ == "__main__":
    main()
