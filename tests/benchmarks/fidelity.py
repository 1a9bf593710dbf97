"""Does what the agent is rewarded for rank batches as their true labels would? The method's central assumption.

    python tests/benchmarks/fidelity.py --data bccd --labelled 60 --kind unlabelled
    python tests/benchmarks/fidelity.py --data bccd --labelled 60 --kind replay --table 32

Batches of the unlabelled pool are drawn as for a lookup table. Each is trained *with* its labels, from scratch, by the
trainer of the cycle's detector, all with one seed (common random numbers): the truth. What is compared with it:

- the proxies of these very batches, without their labels (``--kind unlabelled`` only: the reward as published);
- their price by a table of other batches' records of the kind (``--table``), which is what the search is given; by
  every representation and surrogate, the ones of the parameters first.

Snakemake makes detector, embeddings and table as in any run, below ``data/runs/fidelity_…``; the trainings of this
script are kept in ``data/runs/fidelity/``. Both go on where they were when called again. The last line is
``tau=<Kendall> p=<p-value> rho=<Spearman> batches=<n>`` of the proxies, or of the first price where there are none.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from scipy.stats import kendalltau, spearmanr
from tqdm import tqdm

from mgral.config import loading
from mgral.config.schema import Params, Table
from mgral.core import random_streams
from mgral.core.files import read_json, whole, write_json
from mgral.data import dataset_json
from mgral.data.evidence import Evidence
from mgral.data.image_cache import Cache
from mgral.data.pool import read_pool
from mgral.detection import average_precision
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.inference import run_inference
from mgral.detection.training import TrainingConfig, fit
from mgral.reward import candidate_batches
from mgral.reward.batch_features import REPRESENTATIONS, with_objects
from mgral.reward.lookup_table import LookupTable
from mgral.reward.proxy import ProxyTrainer
from mgral.reward.surrogates import SURROGATES
from mgral.strategies import _evidence_files

DATA = {"bccd": ["params/bccd.yaml"], "generated": []}
KEPT = Path("data/runs/fidelity")


def main() -> None:
    arguments = read_arguments()
    files = [*DATA[arguments.data], *arguments.params]
    name = f"fidelity_{arguments.data}_{arguments.labelled}_{arguments.name or arguments.kind}"
    own = KEPT / f"{name}.yaml"
    with whole(own) as temporary:
        given = {"kind": arguments.kind, **({"records": arguments.table} if arguments.table else {})}
        changes = {"experiment": name, "budget": {"initial": arguments.labelled}, "proxy": given}
        temporary.write_text(yaml.safe_dump(changes))
    experiment = loading.read(["params/base.yaml", *files, own])
    run = Path("data/runs") / name
    folder = run / "shared" / f"seed-{arguments.seed}" / "cycle-0"
    last = folder / ("table/audit.json" if arguments.table else "detections.npz")
    command = [
        "snakemake",
        "--cores",
        "1",
        "--quiet",
        "rules",
        "host",
        "--configfile",
        *files,
        str(own),
        "--",
        str(last),
    ]
    subprocess.run(command, check=True)

    world = World(experiment, run, folder, arguments.seed)
    shares = experiment.proxy.first_shares
    common = random_streams.stream(arguments.seed, "fidelity")
    batches = candidate_batches.draw(arguments.batches, experiment.budget.batch, shares, world.evidence, common)
    label = f"{arguments.data}-{arguments.labelled}-{arguments.seed}"
    truth = kept(f"{label}-labels", batches, lambda ids: world.with_labels(ids, common))
    truths = {"": truth}
    if arguments.ceiling:
        other = random_streams.stream(arguments.seed, "fidelity again")
        again = kept(f"{label}-labels-again", batches, lambda ids: world.with_labels(ids, other))
        print(f"the labels with another seed   {agreement(again, truth)}")
        both = [(one + two) / 2 for one, two in zip(truth, again, strict=True)]
        truths |= {"… and the labels again": again, "… and the mean of both": both}
    if arguments.table:
        first = experiment.table.representation, experiment.table.surrogate
        sharing = arguments.kind != "replay"  # images with batches of the pool: index compares nothing else
        kinds = [kind for kind in REPRESENTATIONS if kind != "index" or sharing]
        ways = [(kind, surrogate) for kind in kinds for surrogate in SURROGATES]
        for kind, surrogate in sorted(ways, key=lambda way: way != first):
            settings = experiment.table.model_copy(update={"representation": kind, "surrogate": surrogate})
            prices = world.prices([batch["ids"] for batch in batches], settings, experiment.table)
            show(f"table: {kind}, {surrogate}", prices, truths)
            if (kind, surrogate) == first:
                answer = prices
    if arguments.kind == "unlabelled":
        answer = kept(f"{label}-{name}", batches, world.without_labels)
        show("the proxies themselves", answer, truths)
    print("generator    answer   with labels")
    for batch, value, true in sorted(zip(batches, answer, truth, strict=True), key=lambda row: row[2]):
        print(f"{batch['generator']:<12} {value:+.4f}  {true:.4f}")
    print(agreement(answer, truth))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=DATA, default="bccd")
    parser.add_argument("--kind", choices=["unlabelled", "replay", "both"], default="unlabelled", help="of the records")
    parser.add_argument("--labelled", type=int, default=60, help="images labelled in cycle 0; default 60")
    parser.add_argument("--batches", type=int, default=20, help="batches to rank; default 20")
    parser.add_argument("--table", type=int, default=0, help="records of the table that prices them; default 0: none")
    parser.add_argument("--ceiling", action="store_true", help="train with labels once more, with another seed")
    parser.add_argument("--params", nargs="*", default=[], help="further parameter files, for variants of the proxy")
    parser.add_argument("--name", help="of such a variant; its results are kept apart. Default: the kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.kind != "unlabelled" and not arguments.table:
        parser.error(
            f"--kind {arguments.kind}: a batch of the pool has no labels; name the size of a --table to price it"
        )
    if arguments.params and not arguments.name:
        parser.error("--params: name the variant with --name")
    return arguments


class World:
    """Cycle 0 of a run, and the trainings that are measured in it."""

    def __init__(self, experiment: Params, run: Path, folder: Path, seed: int) -> None:
        self.experiment, self.folder, self.seed = experiment, folder, seed
        self.machine = prepare_device(experiment.machine)
        self.dataset = dataset_json.read(run / "dataset" / "dataset.json")
        self.cache = Cache(self.dataset, run / "dataset" / "images.npy")
        self.pool = read_pool(folder / "pool.json")
        files = (folder / "pool.json", folder / "embeddings.npz", folder / "detections.npz")
        self.evidence: Evidence = _evidence_files.read(self.dataset, *files)

    def with_labels(self, ids: Sequence[int], common: int) -> float:
        """mAP on val after training on the labelled pool and a batch with its labels."""
        given, val = self.experiment, self.dataset.ids("val")
        detector = build_detector(
            given.detector.name, self.dataset.classes, self.cache.size, given.detector.options, common
        )
        plan = TrainingConfig(**given.training.model_dump())
        fit(detector, self.cache, [*self.pool.labelled_ids, *ids], plan, self.machine, common)
        views = run_inference(detector, self.cache, val, given.evaluation, self.machine)
        score: float = average_precision.evaluate(self.dataset, views.detections, val, given.evaluation.max_detections)[
            "mAP"
        ]
        return score

    def without_labels(self, ids: Sequence[int]) -> float:
        """mAP on val of the batch's proxy."""
        given = self.experiment
        sections = (given.detector, given.proxy, given.evaluation)
        weights = self.folder / "detector.safetensors"
        proxies = ProxyTrainer(self.dataset, self.cache, self.pool, weights, sections, self.machine, self.seed)
        return proxies.train(ids, "fidelity").mAP

    def prices(self, batches: Sequence[Sequence[int]], table: Table, built: Table) -> list[float]:
        """What the run's table says of batches, by a representation and surrogate of choice."""
        given = self.evidence
        assert given.embeddings is not None and given.detections is not None and given.activation is not None
        embeddings = with_objects(given.embeddings, given.detections, len(given.evidence.classes))
        records = LookupTable.load(self.folder / "table", embeddings, built).records
        values: list[float] = LookupTable(records, embeddings, table).price(batches).value.tolist()
        return values


def kept(
    name: str, batches: Sequence[candidate_batches.CandidateBatch], train: Callable[[Sequence[int]], float]
) -> list[float]:
    """mAP of each batch, trained or as it was kept; written after each training."""
    path = KEPT / f"{name}.json"
    found = {tuple(row["ids"]): row["mAP"] for row in read_json(path)} if path.exists() else {}
    for batch in tqdm(batches, name):
        ids = tuple(batch["ids"])
        if ids not in found:
            found[ids] = train(ids)
            write_json(path, [{"ids": list(key), "mAP": value} for key, value in found.items()])
    return [found[tuple(batch["ids"])] for batch in batches]


def show(name: str, answer: Sequence[float], truths: Mapping[str, Sequence[float]]) -> None:
    for label, truth in truths.items():
        print(f"{label or name:<30} {agreement(answer, truth)}")


def agreement(answer: Sequence[float], truth: Sequence[float]) -> str:
    """Rank correlations; ``upper``: τ among the better half by the truth, where a search looks for its batch."""
    tau, rho = kendalltau(answer, truth), spearmanr(answer, truth)
    better = np.argsort(truth, kind="stable")[len(truth) // 2 :]
    upper = kendalltau(np.asarray(answer)[better], np.asarray(truth)[better]).statistic
    return f"tau={tau.statistic:.3f} p={tau.pvalue:.3f} upper={upper:.3f} rho={rho.statistic:.3f} batches={len(truth)}"


if __name__ == "__main__":
    main()
