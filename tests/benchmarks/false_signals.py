"""How often the price calls a signal what is none: tables whose gains were shuffled among their records (claim 12).

    python tests/benchmarks/false_signals.py FOLDER [FOLDER ...]

Every records.parquet below a FOLDER (a run, or the OUT of free_rules.py; mgral with the representation growth) is
shuffled SHUFFLED times among the records of a cycle and kind, and each time the permutation test of `audit.json` asks
whether the records predict each other. By the level of the test one table in twenty may; the interval is the exact one
of Clopper and Pearson (1934), as if all tables were independent.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from mgral.reward import records as recorded
from mgral.reward import table_files
from mgral.reward.bayes import LEVEL, RULES, ClassFactored
from mgral.reward.growth import FEATURES

SHUFFLED = 20  # orders of a table
SEED = 0


def model_of(path: Path) -> ClassFactored:
    """The price of a saved table."""
    records = [one for one in table_files.read_records(path) if one.vector is not None]
    references = recorded.references(records)
    groups = {peers: number for number, peers in enumerate(references)}
    empty = (None,) * (len(records[0].vector or ()) // len(FEATURES))
    return ClassFactored(
        np.array([one.vector for one in records], np.float64).reshape(len(records), -1, len(FEATURES)),
        np.array([one.mAP - references[one.peers] for one in records]),
        np.array([one.per_class or empty for one in records], np.float64),
        np.array([groups[one.peers] for one in records]),
        RULES["learnable"],
    )


def main() -> None:
    """Print a line a table, and one of all."""
    rng = np.random.default_rng(SEED)
    false = tables = 0
    for path in sorted(path for folder in sys.argv[1:] for path in Path(folder).rglob("records.parquet")):
        model = model_of(path)
        found = [model.shuffled(rng).signal for _ in range(SHUFFLED)]
        print(
            f"{path}: p = {model.p_value:.3f} as it is; a signal in {sum(found)} of {len(found)} shuffled", flush=True
        )
        false, tables = false + sum(found), tables + len(found)
    low, high = binomtest(false, tables, LEVEL).proportion_ci()
    print(f"a signal in {false} of {tables} shuffled tables: {false / tables:.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
