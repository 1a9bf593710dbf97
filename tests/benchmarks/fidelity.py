"""Does a proxy rank batches as their true labels would? The central assumption of the method, measured.

Run it on a finished run, for instance after ``snakemake --cores all --configfile params/bccd.yaml``:

    python tests/benchmarks/fidelity.py --params params/base.yaml params/bccd.yaml --seed 0

For each record of cycle 0's lookup table it trains the cycle's own detector on the labelled pool and the record's batch
*with* its labels, all with one seed (common random numbers), and compares the mAP on val with that of the proxy, which
saw the batch without labels. What is trained is kept in ``<run>/fidelity/seed-<s>.json``, so a second call is free.
The last line is ``tau=<Kendall> p=<p-value> rho=<Spearman> batches=<n>``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scipy.stats import kendalltau, spearmanr
from tqdm import tqdm

from mgral import compute, datasets, detectors, evaluation, params, pools, records, seeds
from mgral.files import read_json, write_json
from mgral.images import Cache
from mgral.inference import look
from mgral.params import Params
from mgral.training.loop import Plan, fit
from mgral.types import Record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", nargs="+", required=True, help="parameter files of the run, base first")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run whose cycle 0 is looked at")
    arguments = parser.parse_args()
    experiment = params.read(arguments.params)
    run = Path("data/runs") / experiment.experiment
    folder = run / "shared" / f"seed-{arguments.seed}" / "cycle-0"
    found = [records.read(folder / "proxies" / f"{k}.json") for k in range(experiment.proxy.records)]
    kept = run / "fidelity" / f"seed-{arguments.seed}.json"
    labelled = read_json(kept) if kept.exists() else with_labels(experiment, run, folder, found, arguments.seed)
    write_json(kept, labelled)

    base = read_json(folder / "metrics.json")["val"]["mAP"]
    print(f"cycle 0's detector: {base:.4f} mAP on val")
    print("generator    without labels  with labels")
    for record, value in sorted(zip(found, labelled, strict=True), key=lambda pair: pair[0].mAP):
        print(f"{record.generator:<12} {record.mAP:.4f}          {value:.4f}")
    proxies = [record.mAP for record in found]
    tau, rho = kendalltau(proxies, labelled), spearmanr(proxies, labelled)
    print(f"tau={tau.statistic:.3f} p={tau.pvalue:.3f} rho={rho.statistic:.3f} batches={len(found)}")


def with_labels(experiment: Params, run: Path, folder: Path, found: list[Record], seed: int) -> list[float]:
    """mAP on val after training on the labelled pool and each batch with its labels."""
    machine = compute.prepare(experiment.machine)
    dataset, pool = datasets.read(run / "dataset" / "dataset.json"), pools.read(folder / "pool.json")
    cache = Cache(dataset, run / "dataset" / "images.npy")
    common = seeds.stream(seed, "fidelity")
    plan = Plan(**experiment.training.model_dump())
    val = dataset.ids("val")
    values = []
    for record in tqdm(found, "batches"):
        name, options = experiment.detector.name, experiment.detector.options
        detector = detectors.build(name, dataset.classes, cache.size, options, common)
        fit(detector, cache, [*pool.labelled_ids, *record.ids], plan, machine, common)
        views = look(detector, cache, val, experiment.evaluation, machine)
        values.append(evaluation.evaluate(dataset, views.detections, val, experiment.evaluation.max_detections)["mAP"])
    return values


if __name__ == "__main__":
    main()
