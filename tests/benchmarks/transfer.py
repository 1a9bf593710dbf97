"""How far replay can be trusted: the likelihood of what labels gained, given the records, by TRANSFER and SPREADS.

    python tests/benchmarks/transfer.py NAME=RUN [NAME=RUN ...]

Each RUN is one data set, finished, with mgral (representation growth, prior adaptive) among its strategies. For each
value of `mgral.reward.bayes.TRANSFER` and each factor of `SPREADS` the log likelihood, less the largest, of

- the records of all tables of mgral: gains in AP by class of replay, given the prior, and
- mAP on test after the first batch of every strategy and seed, given those records. Each seed has a level of its own;
  the noise about the price (retraining, and what the numbers of a batch do not tell) is the likeliest of each set.

Strategies that took the same batch count once. A difference of 2 is a likelihood seven times as large.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from pooled_records import fitted, gains, tables_of

from mgral.core.files import read_json
from mgral.core.types import Doubles, Ints
from mgral.detection import npz_files
from mgral.reward import batch_price, bayes
from mgral.reward.bayes import ADAPTIVE, SPREADS, ClassFactored
from mgral.reward.growth import FEATURES

TRANSFERS = (0.5, 0.7, 0.78, 0.85, 0.9, 0.95, 0.98, 1.0)
FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
NOISES = np.arange(0.002, 0.0205, 0.0005)  # in mAP, of one training
LEVEL = 1.0  # deviation of a seed's level: says nothing about it


@dataclass(frozen=True)
class DataSet:
    """What came on one data set.

    Attributes:
        model: the price of all records.
        numbers: [n, 8] of first batches, means over classes.
        came: [n] mAP on test after them.
        seeds: [n].
    """

    model: ClassFactored
    numbers: Doubles
    came: Doubles
    seeds: Ints


def read(run: Path) -> DataSet:
    """All that a run tells."""
    came, tables = gains(run), tables_of(run)
    rows, values, seeds = [], [], []
    for seed in sorted({table.seed for table in tables}):
        folder = run / f"mgral/seed-{seed}/cycle-0"
        price = batch_price.read(folder / "table/price.npz", npz_files.read_embeddings(folder / "embeddings.npz"))
        assert price.weights is not None, "table.surrogate: bayes"
        batches: dict[tuple[int, ...], str] = {}
        for name in sorted(name for name, of in came if of == seed):
            picks = read_json(run / name / f"seed-{seed}/cycle-0/selected.json")["picks"]
            batches.setdefault(tuple(sorted(pick["id"] for pick in picks)), name)
        rows.append(price.world.features([list(batch) for batch in batches])[:, price.weights.classes].mean(axis=1))
        values += [came[name, seed] for name in batches.values()]
        seeds += [seed] * len(batches)
        rule = next(one for one in ADAPTIVE.values() if one.feature == price.weights.rule)
    return DataSet(fitted(tables, rule), np.concatenate(rows), np.array(values), np.array(seeds))


def likelihood(data: DataSet, transfer: float, factor: float) -> float:
    """Log likelihood of records and gains, up to a constant, with other values of the two constants."""
    with mock.patch.multiple(
        bayes, TRANSFER=transfer, SPREADS={name: factor * spread for name, spread in SPREADS.items()}
    ):
        before = bayes.prior(data.model._rule, data.model.classes)
        noise = data.model._noise  # of the constants as they are: these many records tell it without a prior
        spread = before.covariance / transfer**2  # of the weights of replay
        data.model._prior = before
        precision, pull = data.model._information(noise)
        information = precision - np.linalg.inv(spread)
        off = pull - precision @ before.mean
        covariance = np.linalg.inv(precision)
        records = 0.5 * off @ covariance @ off
        records -= 0.5 * np.linalg.slogdet(np.eye(len(FEATURES)) + spread @ information)[1]
        mean = data.model._transferred(covariance @ pull)
        left = (1 - transfer**2) * before.covariance + transfer**4 * covariance
    return float(records) + max(_of_gains(data, mean, left, noise) for noise in NOISES)


def _of_gains(data: DataSet, mean: Doubles, covariance: Doubles, noise: float) -> float:
    """Log likelihood of what came, at weights and their covariance."""
    x, same = data.numbers, data.seeds[:, None] == data.seeds
    of_all = x @ covariance @ x.T + noise**2 * np.eye(len(x)) + LEVEL**2 * same
    root = np.linalg.cholesky(of_all)
    scaled = np.linalg.solve(root, data.came - x @ mean)
    return float(-0.5 * scaled @ scaled - np.log(np.diag(root)).sum())


def grid(sets: Sequence[DataSet]) -> Doubles:
    """[transfers, factors] log likelihood over all sets."""
    found = [[sum(likelihood(one, t, f) for one in sets) for f in FACTORS] for t in TRANSFERS]
    return np.array(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    sets = {}
    for word in parser.parse_args().runs:
        name, _, folder = word.partition("=")
        sets[name] = read(Path(folder))
        print(f"{name}: {len(sets[name].came)} batches of {len(set(sets[name].seeds.tolist()))} seeds")
    found = grid(list(sets.values()))
    print(f"| TRANSFER | {' | '.join(f'spreads × {factor:g}' for factor in FACTORS)} |")
    print("|---" * (len(FACTORS) + 1) + "|")
    for transfer, row in zip(TRANSFERS, found - found.max(), strict=True):
        print(f"| {transfer:g} | {' | '.join(f'{value:.1f}' for value in row)} |")


if __name__ == "__main__":
    main()
