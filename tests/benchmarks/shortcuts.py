"""What may be saved on a proxy? Each shortcut's ranking of batches against that of a full training.

It needs a data set that a run has imported, for instance by

    snakemake --cores 1 --configfile params/bccd.yaml -- data/runs/bccd/dataset/images.npy
    python tests/benchmarks/shortcuts.py --params params/base.yaml params/bccd.yaml --labelled 60 --batches 24 --seed 0

Batches of all generators are drawn from the images beyond an initial pool of ``--labelled``. Each is trained in full,
by the cycle's own trainer from scratch on the pool and the batch with its labels. Then by every shortcut. All runs of a
seed share their random numbers; ``again`` is the full training with others, so its row says how well a ranking can
agree with another at all. What is trained is kept in ``<run>/fidelity/``, so a killed call goes on where it was.

One line a variant: Kendall τ and Spearman ρ to the full training; τ to the mean of full and again, which is the less
noisy truth, and the same among the better half of the batches by that mean; mean and standard deviation of mAP over the
batches; the processor seconds of a run.

Below a variant, what stopping hopeless runs would make of it, those below all random batches (``proxy.stop_at``) or
below their median (Golovin et al. 2017): which share of the runs would have been stopped, how many of the five best
batches' among them, which share of all steps spared, and the same τ. A stopped run is a whole one's beginning, so whole
ones that were looked at on the way tell.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, spearmanr

from mgral.config import loading
from mgral.config.schema import Params
from mgral.core import plugins, random_streams
from mgral.core.files import read_json, write_json
from mgral.core.types import Dataset, Doubles
from mgral.data import dataset_json
from mgral.data.evidence import Evidence
from mgral.data.image_cache import Cache
from mgral.data.pool import Pool, initial_pool
from mgral.detection import average_precision, feature_cache
from mgral.detection.base import Detector, build_detector, load_detector, save_detector
from mgral.detection.device import Device, prepare_device
from mgral.detection.feature_cache import BackboneFeatures
from mgral.detection.inference import run_inference
from mgral.detection.training import StopCondition, TrainingConfig, fit
from mgral.reward import candidate_batches

Ids = list[int]
LOOKS = (0.25, 0.5, 0.75)  # shares of the steps
BEST = 5  # batches that should not be stopped


@dataclass
class Bench:
    """One seed of one data set: a detector trained on the pool, and the batches in question."""

    experiment: Params
    dataset: Dataset
    cache: Cache
    machine: Device
    pool: Pool
    seed: int
    weights: Path
    batches: list[candidate_batches.CandidateBatch]
    kept: BackboneFeatures | None = None
    partway: list[float] = field(default_factory=list)  # mAP at the LOOKS of the run at hand
    looking: float = 0.0  # processor seconds that these took

    @property
    def plan(self) -> TrainingConfig:
        return TrainingConfig(**self.experiment.training.model_dump())

    @property
    def short(self) -> TrainingConfig:
        proxy = self.experiment.proxy
        return replace(self.plan, learning_rate=proxy.learning_rate, batch_size=proxy.batch_size, warmup=10)

    def build(self, seed: int) -> Detector:
        chosen = self.experiment.detector
        return build_detector(chosen.name, self.dataset.classes, self.cache.size, chosen.options, seed)

    def score(self, detector: Detector, kept: BackboneFeatures | None = None) -> float:
        val = self.dataset.ids("val")
        views = run_inference(detector, self.cache, val, self.experiment.evaluation, self.machine, kept)
        limit = self.experiment.evaluation.max_detections
        return average_precision.evaluate(self.dataset, views.detections, val, limit)["mAP"]

    def watch(self, detector: Detector, steps: int, kept: BackboneFeatures | None = None) -> StopCondition:
        """Looks at a run on its way, and never stops it."""
        self.partway, self.looking = [], 0.0
        looks = {int(share * steps) for share in LOOKS}

        def halt(step: int) -> bool:
            if step in looks:
                began = time.process_time()
                self.partway.append(self.score(detector, kept))
                self.looking += time.process_time() - began
            return False

        return halt

    def scratch(self, batch: Ids, steps: int, name: str = "full") -> float:
        """From fresh weights."""
        seed = random_streams.stream(self.seed, "fidelity", name)
        detector = self.build(seed)
        ids, plan = [*self.pool.labelled_ids, *batch], replace(self.plan, steps=steps)
        fit(detector, self.cache, ids, plan, self.machine, seed, halt=self.watch(detector, steps))
        return self.score(detector)

    def tuned(self, batch: Ids, steps: int, frozen: bool = False) -> float:
        """From the weights of the detector trained on the pool."""
        seed = random_streams.stream(self.seed, "fidelity", "tuned")
        detector = self.build(seed)
        load_detector(detector, self.weights)
        ids, plan = self.pool.labelled_ids, replace(self.short, steps=steps)
        if frozen:
            detector.freeze_backbone()
            if self.kept is None:
                shown = [i for drawn in self.batches for i in drawn["ids"]]
                every = {*ids, *shown, *self.dataset.ids("val")}
                self.kept = feature_cache.make(detector, self.cache, sorted(every), self.machine)
        kept = self.kept if frozen else None
        halt = self.watch(detector, steps, kept)
        fit(detector, self.cache, ids, plan, self.machine, seed, backbone_features=kept, halt=halt, added=batch)
        return self.score(detector, kept)

    def unlabelled(self, batch: Ids, steps: int) -> float:
        """The published proxy: the batch without its labels, through the semi-supervised term."""
        proxy = self.experiment.proxy
        seed = random_streams.stream(self.seed, "fidelity", "tuned")
        detector = self.build(seed)
        load_detector(detector, self.weights)
        plan = replace(self.short, steps=steps)
        semi = plugins.load("semi", proxy.semi)
        options = semi.Options.parse(proxy.options, "proxy.options")
        term = semi.build(options, self.cache, batch, self.pool.labelled_ids, plan, self.machine, seed)
        halt = self.watch(detector, steps)
        fit(detector, self.cache, self.pool.labelled_ids, plan, self.machine, seed, term, halt=halt)
        return self.score(detector)


def variants(bench: Bench) -> dict[str, Callable[[Ids], float]]:
    """Name → the mAP on val that the variant gives a batch."""
    whole, part = bench.plan.steps, bench.experiment.proxy.steps
    return {
        "full": lambda batch: bench.scratch(batch, whole),
        "again": lambda batch: bench.scratch(batch, whole, "again"),
        "half as long": lambda batch: bench.scratch(batch, whole // 2),
        f"from the detector, {part} steps": lambda batch: bench.tuned(batch, part),
        f"from the detector, {whole // 2} steps": lambda batch: bench.tuned(batch, whole // 2),
        f"frozen backbone, {part} steps": lambda batch: bench.tuned(batch, part, frozen=True),
        f"frozen backbone, {whole} steps": lambda batch: bench.tuned(batch, whole, frozen=True),
        f"without labels ({bench.experiment.proxy.semi}), {part} steps": lambda batch: bench.unlabelled(batch, part),
    }


def prepare(experiment: Params, labelled: int, count: int, seed: int) -> Bench:
    """Train the detector on the pool, and draw the batches by what it says of the rest."""
    run = Path("data/runs") / experiment.experiment
    machine = prepare_device(experiment.machine)
    dataset = dataset_json.read(run / "dataset" / "dataset.json")
    cache = Cache(dataset, run / "dataset" / "images.npy")
    pool = initial_pool(dataset.ids("train"), labelled, seed)
    weights = run / "fidelity" / f"detector-{labelled}-seed-{seed}.safetensors"
    bench = Bench(experiment, dataset, cache, machine, pool, seed, weights, [])
    common = random_streams.stream(seed, "fidelity", "pool")
    detector = bench.build(common)
    if weights.exists():
        load_detector(detector, weights)
    else:
        fit(detector, cache, pool.labelled_ids, bench.plan, machine, common)
        save_detector(detector, weights)
    bench.score(detector)  # the first look is slower
    began = time.process_time()
    print(f"the pool alone: {bench.score(detector):.4f} mAP on val, looked at in {time.process_time() - began:.2f} s")
    views = run_inference(detector, cache, [*pool.labelled, *pool.unlabelled], experiment.evaluation, machine)
    evidence = Evidence(pool, dataset.classes, views.detections, detector.activation, views.embeddings)
    bench.batches = candidate_batches.draw(
        count, experiment.budget.batch, experiment.proxy.first_shares, evidence, seed
    )
    return bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", nargs="+", required=True, help="parameter files of the run, base first")
    parser.add_argument("--labelled", type=int, required=True, help="images in the pool")
    parser.add_argument(
        "--batches", type=int, default=24, help="batches to rank, at least 20 for a figure worth quoting"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    experiment = loading.read(arguments.params)
    bench = prepare(experiment, arguments.labelled, arguments.batches, arguments.seed)
    name = f"shortcuts-{arguments.labelled}-{arguments.batches}-seed-{arguments.seed}.json"
    kept = bench.weights.parent / name
    done: dict[str, list[list[float]]] = read_json(kept) if kept.exists() else {}
    for variant, train in variants(bench).items():
        rows = done.setdefault(variant, [])
        for drawn in bench.batches[len(rows) :]:
            began = time.process_time()
            value = train(drawn["ids"])
            rows.append([value, time.process_time() - began - bench.looking, *bench.partway])
            write_json(kept, done)
        full, found = (np.array([value for value, *_ in done[name]]) for name in ("full", variant))
        line = (
            f"{variant:<36} tau={kendalltau(full, found).statistic:+.3f} rho={spearmanr(full, found).statistic:+.3f} "
        )
        truth = full
        if variant not in ("full", "again"):
            truth = (full + [value for value, *_ in done["again"]]) / 2
            line += "to_both={:+.3f} upper={:+.3f} ".format(*taus(truth, found))
        seconds = np.median([second for _, second, *_ in rows])
        print(f"{line}mean={found.mean():.4f} spread={found.std():.4f} seconds={seconds:.2f}")
        if variant != "full":
            for k, share in enumerate(LOOKS):
                print(stopped(share, bench.batches, rows, k, truth))


def taus(truth: Doubles, found: Doubles) -> tuple[float, float]:
    """Kendall τ over all batches, and among the better half by the truth."""
    better = np.argsort(truth, kind="stable")[len(truth) // 2 :]
    return kendalltau(truth, found).statistic, kendalltau(truth[better], found[better]).statistic


def stopped(
    share: float, batches: list[candidate_batches.CandidateBatch], rows: list[list[float]], k: int, truth: Doubles
) -> str:
    """What is left of a variant's ranking if hopeless runs are stopped at its look ``k``, by two rules."""
    whole, partway = (np.array([row[at] for row in rows]) for at in (0, 2 + k))
    random = np.array([drawn["generator"] == "random" for drawn in batches])
    best = np.argsort(-truth, kind="stable")[:BEST]
    line = f"    stopped at {share}"
    for rule, bar in (("below all", partway[random].min()), ("below the median", np.median(partway[random]))):
        lost = (partway < bar) & ~random
        found = np.where(lost, partway + (whole - partway)[random].mean(), whole)
        runs, steps = lost.mean(), lost.mean() * (1 - share)
        line += f"; {rule}: {runs:.0%} of runs ({lost[best].sum()} of the best {BEST}), {steps:.0%} of steps, "
        line += "tau={:+.3f} upper={:+.3f}".format(*taus(truth, found))
    return line


if __name__ == "__main__":
    main()
