"""What mgral's price expected of the rules' batches, beside what these gained, in pools of a run of free_rules.py.

    python tests/benchmarks/price_gap.py OUT SEED ...

A line for each rule: the price of mgral's batch less that of the rule's, mean over pools; the standard deviation that
the posterior gives to this difference; and the difference in mAP on test that came. Where the expected difference is
smaller than its deviation and the noise of retraining, no few seeds can show it. The last line has the standard
deviations of the weights after the records as a share of those before: 1 where records have taught nothing.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from mgral.core.files import read_json
from mgral.detection import npz_files
from mgral.reward import batch_price
from mgral.reward.bayes import SPREADS
from mgral.reward.growth import FEATURES


def main() -> None:
    """Print the table over the pools."""
    out, seeds = Path(sys.argv[1]), sys.argv[2:]
    with (out / "results.csv").open(encoding="utf-8") as file:
        value = {(row["seed"], row["strategy"]): float(row["mAP"]) for row in csv.DictReader(file)}
    found: dict[str, list[tuple[float, float, float]]] = {}
    shrunk = []
    for seed in seeds:
        folder = out / f"seed-{seed}"
        price = batch_price.read(folder / "table/price.npz", npz_files.read_embeddings(folder / "embeddings.npz"))
        assert price.weights is not None, "table.surrogate: bayes"
        shrunk.append(np.sqrt(np.diag(price.weights.covariance)) / [SPREADS[name] for name in FEATURES])
        names = [name for other, name in value if other == seed]
        chosen = {name: read_json(folder / name / "selected.json")["picks"] for name in names}
        batches = {name: [pick["id"] for pick in picks] for name, picks in chosen.items()}
        numbers = dict(zip(batches, price.world.features(list(batches.values())), strict=True))
        for name in names:
            if name != "mgral":
                gap, deviation = price.weights.predict((numbers["mgral"] - numbers[name])[None])
                came = value[seed, "mgral"] - value[seed, name]
                found.setdefault(name, []).append((float(gap[0]), float(deviation[0]), came))
    print(f"mgral less each, mean over {len(seeds)} pools: expected gain, its deviation in one pool, gain on test")
    for name, rows in found.items():
        gap, deviation, came = np.mean(rows, axis=0)
        print(f"{name}: {gap:+.4f} ± {deviation:.4f}, {came:+.4f}")
    print("weights:", ", ".join(f"{n} {s:.2f}" for n, s in zip(FEATURES, np.mean(shrunk, axis=0), strict=True)))


if __name__ == "__main__":
    main()
