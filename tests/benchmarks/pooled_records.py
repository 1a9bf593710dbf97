"""What mgral's price expects of each strategy's batch, by the pool's own records and by those of all other seeds.

    python tests/benchmarks/pooled_records.py RUN [--against adaptive]

RUN is finished and has mgral (representation growth, prior adaptive) among its strategies. A line for each strategy,
means over the seeds: the expected difference of its first batch from that of --against with its standard deviation, by
the records of the seed's own first table and by those of all tables of the other seeds; and the difference in mAP on
test that came, with its standard error. From the first to the second column is what more splits would change. Last, of
how many of these differences, seed by seed, what came lies within two standard deviations of what was expected: the
price's and the noise of two trainings (noise.json) together. Batches that are that of --against are left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgral.core.files import read_json
from mgral.core.types import Doubles, Record
from mgral.detection import npz_files
from mgral.report import learning_curves
from mgral.reward import batch_price, table_files
from mgral.reward.batch_price import BatchPrice
from mgral.reward.bayes import ADAPTIVE, ClassFactored, Rule, Weights
from mgral.reward.growth import FEATURES


@dataclass(frozen=True)
class Table:
    """The records that one cycle made, those carried from earlier cycles left out."""

    seed: int
    cycle: int
    records: Sequence[Record]


def tables_of(run: Path) -> list[Table]:
    """All tables of mgral in a run."""
    found = []
    for path in sorted(run.glob("mgral/seed-*/cycle-*/table/records.parquet")):
        seed, cycle = (int(part.partition("-")[2]) for part in path.parts[-4:-2])
        records = [one for one in table_files.read_records(path) if one.vector is not None and one.per_class]
        newest = max(one.cycle for one in records)
        found.append(Table(seed, cycle, [one for one in records if one.cycle == newest]))
    return found


def fitted(tables: Sequence[Table], rule: Rule) -> ClassFactored:
    """The model of the price on the records of tables, those of one split compared with each other alone."""
    records = [one for table in tables for one in table.records]
    splits = [f"{table.seed} {table.cycle} {one.split}" for table in tables for one in table.records]
    groups = np.unique(splits, return_inverse=True)[1]
    numbers = np.array([one.vector for one in records], np.float64).reshape(len(records), -1, len(FEATURES))
    by_class = np.array([one.per_class for one in records], np.float64)
    return ClassFactored(numbers, np.array([one.mAP for one in records], np.float64), by_class, groups, rule)


def first_price(run: Path, seed: int) -> tuple[BatchPrice, Rule]:
    """The price of a seed's first pool, and the rule in its prior."""
    folder = run / f"mgral/seed-{seed}/cycle-0"
    price = batch_price.read(folder / "table/price.npz", npz_files.read_embeddings(folder / "embeddings.npz"))
    return price, next(one for one in ADAPTIVE.values() if one.feature == price.rule)


def differences(run: Path, seed: int, price: BatchPrice, names: Sequence[str], models: Sequence[Weights]) -> Doubles:
    """[strategies, models, 2]: expected difference of a first batch from that of the first strategy, and deviation."""
    chosen = [read_json(run / name / f"seed-{seed}/cycle-0/selected.json")["picks"] for name in names]
    numbers = price.world.features([[pick["id"] for pick in picks] for picks in chosen])
    return np.stack([np.stack(model.predict(numbers - numbers[0]), axis=-1) for model in models], axis=1)


def gains(run: Path) -> Mapping[tuple[str, int], float]:
    """mAP on test after the first batch, by strategy and seed."""
    frame = learning_curves.read(run / "curve.csv")
    after = frame[frame["cycle"] == 1]
    return {
        (str(name), int(seed)): float(value)
        for name, seed, value in zip(after["strategy"], after["seed"], after["mAP"], strict=True)
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--against", default="adaptive")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these; default all")
    given = parser.parse_args()
    tables = [table for table in tables_of(given.run) if given.seeds is None or table.seed in given.seeds]
    came = {key: gain for key, gain in gains(given.run).items() if key[1] in {table.seed for table in tables}}
    seeds = sorted({table.seed for table in tables})
    names = [given.against, *sorted({name for name, _ in came} - {given.against})]
    found, realised, carrying = [], [], [0, 0]
    for seed in seeds:
        own = [table for table in tables if (table.seed, table.cycle) == (seed, 0)]
        price, rule = first_price(given.run, seed)
        models = [fitted(some, rule) for some in (own, [table for table in tables if table.seed != seed])]
        carrying = [count + model.signal for count, model in zip(carrying, models, strict=True)]
        found.append(differences(given.run, seed, price, names, [model.weights for model in models]))
        realised.append([came[name, seed] - came[names[0], seed] for name in names])
    mean, gained = np.mean(found, axis=0), np.mean(realised, axis=0)
    error = np.std(realised, axis=0, ddof=1) / math.sqrt(len(seeds))
    print(
        f"{len(seeds)} seeds; own records carry a signal in {carrying[0]} of them, those of all others in {carrying[1]}"
    )
    print(f"| less {names[0]} | by own records | by all others | came |")
    print("|---|---|---|---|")
    for i in sorted(range(1, len(names)), key=lambda i: -gained[i]):
        (one, its), (two, other) = mean[i]
        print(f"| `{names[i]}` | {one:+.4f} ± {its:.4f} | {two:+.4f} ± {other:.4f} | ", end="")
        print(f"{gained[i]:+.4f} ± {error[i]:.4f} |")
    chance = read_json(given.run / "noise.json")["mAP"]["deviation"] if (given.run / "noise.json").exists() else 0.0
    expected, deviation = np.moveaxis(np.array(found), -1, 0)  # [seeds, strategies, models]
    off = np.abs(np.array(realised)[..., None] - expected) / np.sqrt(deviation**2 + 2 * chance**2 + 1e-12)
    other = deviation[..., 0] > 0
    for k, name in enumerate(("own records", "all others")):
        print(f"by {name}: {(off[other][:, k] < 2).sum()} of {other.sum()} within two deviations")


if __name__ == "__main__":
    main()
