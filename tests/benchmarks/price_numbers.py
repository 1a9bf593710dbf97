"""How large the numbers of the representation growth are for the batches of rules, in pools of a run of free_rules.py.

    python tests/benchmarks/price_numbers.py OUT SEED ...

A weight of the price (mAP per nat) is a gain in mAP divided by such a number: docs/results/price.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mgral.core import plugins
from mgral.data import dataset_json
from mgral.reward.growth import FEATURES
from mgral.strategies import _evidence_files

RULES = ("learnable", "growth", "balanced", "entropy")
BATCH = 20


def main() -> None:
    """Print the mean over the pools of each number, a line a rule."""
    out, found = Path(sys.argv[1]), []
    dataset = dataset_json.read(out / "dataset.json")
    for seed in sys.argv[2:]:
        folder = out / f"seed-{seed}"
        replay, metrics = folder / "replay", folder / "metrics.json"
        own, split = (
            (home / "pool.json", home / "embeddings.npz", home / "detections.npz") for home in (folder, replay)
        )
        world = _evidence_files.read_worlds(dataset, own, metrics, [split]).own
        files = {"competence": metrics, "held_out": [split[2]], "needs": frozenset({"labels"})}
        evidence = _evidence_files.read(dataset, *own, **files)
        batches = []
        for name in RULES:
            plugin = plugins.load("strategies", name)
            batches.append([pick.id for pick in plugin.select(evidence, BATCH, 0, plugin.Options())])
        found.append(world.features(batches).mean(axis=1))
    for name, numbers in zip(RULES, np.mean(found, axis=0), strict=True):
        print(f"{name}:", ", ".join(f"{key} {value:.2f}" for key, value in zip(FEATURES, numbers, strict=True)))


if __name__ == "__main__":
    main()
