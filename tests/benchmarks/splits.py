"""How far replay can be trusted: the likelihood of records, and of what labels gained given them, by three constants.

    python tests/benchmarks/splits.py NAME=RUN [NAME=RUN ...]

Each RUN is one data set, finished, with mgral (representation growth, prior adaptive) among its strategies. For values
of `mgral.reward.bayes.BETWEEN_SPLITS`, `BETWEEN_POOLS` and `SPREADS`, all in today's SPREADS, the log likelihood less
that of today's values, of

- records: the gains in AP by class of all replay records, given the prior;
- labels: mAP on test after the first batch of every strategy and seed, given all records of the set; and the same
  given those of the own pool alone. Each seed has a level of its own; the noise about the price (retraining, and what
  the numbers of a batch do not tell) is the likeliest of each set.

Strategies that took the same batch count once. A difference of 2 is a likelihood seven times as large.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from pooled_records import Table, first_price, fitted, gains, tables_of

from mgral.core.files import read_json
from mgral.core.types import Doubles, Ints
from mgral.reward import bayes
from mgral.reward.bayes import BETWEEN_POOLS, BETWEEN_SPLITS, SPREADS, ClassFactored
from mgral.reward.growth import FEATURES

TODAY = (1.0, BETWEEN_SPLITS, BETWEEN_POOLS)
TRIED = (
    *((size, *TODAY[1:]) for size in (0.25, 0.5, 0.75, 1.33, 2.0)),
    *((TODAY[0], splits, TODAY[2]) for splits in (0.01, 0.5, 1.0, 1.5, 3.0, 4.0)),
    *((*TODAY[:2], pools) for pools in (0.01, 0.5, 1.0, 2.0)),
)
NOISES = np.arange(0.002, 0.0205, 0.0005)  # in mAP, of one training
LEVEL = 1.0  # deviation of a seed's level: says nothing about it


@dataclass(frozen=True)
class DataSet:
    """What came on one data set, or in one of its pools.

    Attributes:
        model: the price of the records.
        numbers: [n, 8] of first batches, means over classes.
        came: [n] mAP on test after them.
        seeds: [n].
    """

    model: ClassFactored
    numbers: Doubles
    came: Doubles
    seeds: Ints


def read(run: Path) -> tuple[DataSet, list[DataSet]]:
    """All that a run tells, and what each of its first pools tells by itself."""
    came, tables = gains(run), tables_of(run)
    rows, values, seeds = [], [], []
    for seed in sorted({table.seed for table in tables}):
        price, rule = first_price(run, seed)
        assert price.weights is not None
        batches: dict[tuple[int, ...], str] = {}
        for name in sorted(name for name, of in came if of == seed):
            picks = read_json(run / name / f"seed-{seed}/cycle-0/selected.json")["picks"]
            batches.setdefault(tuple(sorted(pick["id"] for pick in picks)), name)
        rows.append(price.world.features([list(batch) for batch in batches])[:, price.weights.classes].mean(axis=1))
        values += [came[name, seed] for name in batches.values()]
        seeds += [seed] * len(batches)
    numbers, came_to, of = np.concatenate(rows), np.array(values), np.array(seeds)

    def told(some: Sequence[Table], kept: Ints) -> DataSet:
        return DataSet(fitted(some, rule), numbers[kept], came_to[kept], of[kept])

    pools = [
        told([table for table in tables if (table.seed, table.cycle) == (seed, 0)], np.flatnonzero(of == seed))
        for seed in np.unique(of).tolist()
    ]
    return told(tables, np.arange(len(of))), pools


def likelihoods(data: DataSet, constants: tuple[float, float, float]) -> tuple[float, Doubles]:
    """Log likelihood of the records, and of the gains at each of ``NOISES``, up to a constant."""
    size, splits, pools = constants
    spreads = {name: size * spread for name, spread in SPREADS.items()}
    # Deviations stay in today's SPREADS: those of splits and pools do not grow with the first.
    with mock.patch.multiple(bayes, SPREADS=spreads, BETWEEN_SPLITS=splits / size, BETWEEN_POOLS=pools / size):
        model, noise = data.model, data.model._noise  # of today's constants: these records tell it without a prior
        model._prior = before = bayes.prior(model._rule, model.classes)
        spread, between, own = bayes._spread(), bayes._spread(splits / size), bayes._spread(pools / size)
        squares, products = model._information(noise)
        mean, covariance = model._common(squares, products)
        precision, pull = model._pooled(squares, products)
        wider = np.eye(len(FEATURES)) + squares @ between
        records = -0.5 * np.linalg.slogdet(wider)[1].sum()
        solved = np.linalg.solve(wider, products[..., None])[..., 0]
        records += 0.5 * np.einsum("gf,fh,gh->", products, between, solved)
        records += 0.5 * (pull @ mean - before.mean @ np.linalg.solve(spread, before.mean))
        records -= 0.5 * (np.linalg.slogdet(precision)[1] + np.linalg.slogdet(spread)[1])
    x, same = data.numbers, data.seeds[:, None] == data.seeds
    known = x @ covariance @ x.T + (x @ own @ x.T + LEVEL**2) * same
    found = []
    for chance in NOISES:
        root = np.linalg.cholesky(known + chance**2 * np.eye(len(x)))
        scaled = np.linalg.solve(root, data.came - x @ mean)
        found.append(-0.5 * scaled @ scaled - np.log(np.diag(root)).sum())
    return float(records), np.array(found)


def total(sets: Sequence[tuple[DataSet, list[DataSet]]], constants: tuple[float, float, float]) -> Doubles:
    """[3] log likelihood of records, of labels given all records of a set, and given those of each pool, over sets."""
    found = np.zeros(3)
    for whole, pools in sets:
        records, labels = likelihoods(whole, constants)
        alone = sum(likelihoods(pool, constants)[1] for pool in pools)
        found += records, labels.max(), np.max(alone)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    sets = []
    for word in parser.parse_args().runs:
        name, _, folder = word.partition("=")
        whole, pools = read(Path(folder))
        splits = len(whole.model._information(whole.model._noise)[0])
        print(f"{name}: {len(whole.came)} batches of {len(pools)} seeds; {splits} replay splits")
        sets.append((whole, pools))
    today = total(sets, TODAY)
    print("| spreads | between splits | between pools | records | labels, all records | labels, own records |")
    print("|---" * 6 + "|")
    for constants in (TODAY, *TRIED):
        values = " | ".join(f"{value:+.1f}" for value in total(sets, constants) - today)
        print(f"| {' | '.join(f'{one:g}' for one in constants)} | {values} |")


if __name__ == "__main__":
    main()
