"""The files that rules read and make, as paths with wildcards and as functions of a job's wildcards.

{strategy} is who a step is computed for: 'shared' in cycle 0, a label in later ones; in the path of a file
(shared/seed-1/cycle-0/…) as in the name of a job (shared-1-0). {label} is a label in any cycle. {part} is a round and
kind of records, see :func:`mgral.core.run_layout.parts`; {split} ends the folder of a replay split.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from mgral.config import schema
from mgral.core import random_streams, run_layout
from mgral.core.run_layout import SECOND, CycleFiles
from mgral.planning.run_plan import RunPlan, home
from mgral.reward.proxy_plan import Proxies
from mgral.strategies._contract import IN_FILES

Files = dict[str, Any]  # inputs by name: a path, several, or a function of the wildcards

# The names of jobs, in their logs: of a cycle, and of a cycle of one strategy.
JOB, OWN_JOB = "{strategy}-{seed}-{cycle}", "{label}-{seed}-{cycle}"


class Wildcards(Protocol):
    """What Snakemake gives to an input function."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """A wildcard's value, or ``default`` for a job without it."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Each wildcard with its value."""


class Given(Protocol):
    """Inputs or outputs of a job, as Snakemake gives them to a function."""

    def items(self) -> Iterable[tuple[str, str | Iterable[str]]]:
        """A path or several by name; files without a name are left out."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """The path or paths of a name, or ``default``."""


def options_of(files: Given) -> list[str]:
    """The named files of a job as options of its command, ``--<name> <path> …``; none for a name without files."""
    several = {name: [found] if isinstance(found, str) else list(found) for name, found in files.items()}
    return [text for name, found in several.items() if found for text in (f"--{name.replace('_', '-')}", *found)]


def folder_of(files: Sequence[str]) -> str:
    """The folder of a job's first input or output, for a command that is told a folder; empty without any."""
    return str(Path(files[0]).parent) if files else ""


def whose(wildcards: Wildcards) -> str:
    """Whose job it is, before what it does: ``"mgral, seed 0, cycle 1, replay: "``; empty for one of the whole run."""
    who = wildcards.get("strategy") or wildcards.get("label")
    counted = {"seed": "seed", "cycle": "cycle", "repeat": "repetition", "number": "part"}
    words = [f"{word} {wildcards.get(name)}" for name, word in counted.items() if wildcards.get(name) is not None]
    found = ", ".join([who, *words] if who else words) + run_layout.part_in_words(_part(wildcards))
    return f"{found}: " if found else ""


class RuleFiles:
    """The files of a planned run.

    Args:
        plan: of the run.

    Attributes:
        folder: of a cycle.
        run: files of the run outside its cycles.
        cycle: files of a cycle.
        part: files of a part of a cycle.
        replay: files of a part in which labelled images are split off.
        own: files of a cycle of one strategy, cycle 0 too.
        held_out: the same, what is found in the held-out images of each replay split.
        retrained: files of a training for the retraining variance.
        part_of_pool: files of a training on a part of the last pool.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self.folder = run_layout.cycle_folder(plan.run)
        self.run = run_layout.RUN.below(f"{plan.run}/")
        own = run_layout.cycle_folder(plan.run, "{label}")
        self.cycle = run_layout.CYCLE.below(f"{self.folder}/")
        self.part = run_layout.CYCLE.below(f"{self.folder}/{{part}}")
        self.replay = run_layout.CYCLE.below(f"{self.folder}/{run_layout.SPLIT}")
        self.own = run_layout.CYCLE.below(f"{own}/")
        self.held_out = [f"{own}/{split}{run_layout.CYCLE.detections}" for split in plan.looked_at]
        self.retrained = run_layout.CYCLE.below(f"{plan.run}/{run_layout.retrained()}/")
        self.part_of_pool = run_layout.CYCLE.below(f"{plan.run}/{run_layout.part_of_pool()}/")
        self._jobs = {
            self.cycle: JOB,
            self.part: f"{{part}}{JOB}",
            self.replay: f"{run_layout.SPLIT}{JOB}",
            self.own: OWN_JOB,
            self.retrained: "{repeat}",
            self.part_of_pool: "{number}",
        }

    def log(self, step: str, job: CycleFiles | str = "all") -> str:
        """The log of a job, named by what its files are of, or by a text; see :func:`mgral.core.run_layout.log`."""
        return run_layout.log(self._plan.run, step, job if isinstance(job, str) else self._jobs[job])

    def each(self, path: str, labels: Iterable[str] | None = None, cycles: Iterable[int] | None = None) -> list[str]:
        """A file of every cycle and seed of some strategies; of all that the run has reached where none are given."""
        found = itertools.product(
            self._plan.strategies if labels is None else labels,
            self._plan.experiment.seeds,
            self._plan.cycles if cycles is None else cycles,
        )
        return [path.format(strategy=label, seed=seed, cycle=cycle) for label, seed, cycle in found]

    def named(self, where: CycleFiles, *names: str) -> Files:
        """Inputs by their names: of a part of a cycle, or ``dataset`` and ``images``, which a cycle knows."""
        shared = {"dataset": self.dataset, "images": self.run.images}
        return {name: shared[name] if name in shared else getattr(where, name) for name in names}

    def in_cycle(self, names: Iterable[str]) -> list[str]:
        """Files below the folder of a cycle."""
        return [f"{self.folder}/{name}" for name in names]

    def before(self, name: str) -> Callable[[Wildcards], str]:
        """A file of the cycle before."""

        def path(wildcards: Wildcards) -> str:
            who, seed, cycle = _job(wildcards)
            return f"{run_layout.cycle_folder(self._plan.run, who, seed, cycle - 1)}/{name}"

        return path

    def dataset(self, wildcards: Wildcards) -> str:
        """The data set that a job knows: that of its cycle; outside of cycles that of the last."""
        return self._plan.dataset_of(*_job(wildcards)) if wildcards.get("cycle") else self._plan.last_dataset

    def dataset_before(self, wildcards: Wildcards) -> str:
        """The data set of the cycle before."""
        who, seed, cycle = _job(wildcards)
        return self._plan.dataset_of(who, seed, cycle - 1)

    def seed(self, wildcards: Wildcards) -> int:
        """The seed of a job; one for the retraining variance has one that is none of the experiment's."""
        if wildcards.get("repeat"):
            return schema.FIRST_NOISE_SEED + int(wildcards.get("repeat"))
        return self.seed_of(run_layout.split_of(_part(wildcards)))(wildcards)

    def seed_of(self, split: int) -> Callable[[Wildcards], int]:
        """The seed of a job for a replay split: of the first the experiment's, of each other one derived from it."""

        def seed(wildcards: Wildcards) -> int:
            own = int(wildcards.get("seed", self._plan.experiment.seeds[0]))
            return own if split == 1 else random_streams.stream(own, "replay split", split)

        return seed

    def kind(self, wildcards: Wildcards) -> str:
        """The kind of records of a job."""
        return run_layout.kind_of(wildcards.get("part"))

    def second_round(self, wildcards: Wildcards) -> bool:
        """Whether a job is one of the second round."""
        return str(wildcards.get("part")).startswith(SECOND)

    def kept(self, wildcards: Wildcards) -> list[str]:
        """What is kept of a cycle's detections; see :meth:`mgral.planning.run_plan.RunPlan.kept`."""
        return self._plan.kept(wildcards.get("strategy"))

    def modules(self, wildcards: Wildcards) -> list[str]:
        """The modules of a job's strategy, for the hash of its code."""
        return self._plan.strategy_modules[wildcards.get("label")]

    def temperature(self, wildcards: Wildcards) -> float | None:
        """How an agent draws the batches of a second round; None for a first round."""
        return self._plan.experiment.search.temperature if self.second_round(wildcards) else None

    def polish(self, wildcards: Wildcards) -> list[str | float]:
        """How the batch of an agent is polished; see :meth:`mgral.planning.run_plan.RunPlan.polish`."""
        return self._plan.polish(wildcards.get("label"))

    def share(self, wildcards: Wildcards) -> float:
        """The share of the last pool that a training on a part of it has."""
        return self._plan.parts()[wildcards.get("number")]

    def past(self, wildcards: Wildcards) -> list[str]:
        """What people said of earlier batches, for the account of a batch."""
        return self._plan.past(*_job(wildcards))

    def simulated(self) -> Files:
        """The batch and its true labels, where simulated people answer."""
        if self._plan.asks_people:
            return {}
        return {"simulated": self.before(run_layout.CYCLE.manifest), "truth": self.run.dataset}

    def foundation(self) -> Files:
        """What is embedded by, where that is a backbone that is no part of the detector."""
        return {"foundation": self.run.foundation} if self._plan.by_backbone else {}

    def sampled(self, wildcards: Wildcards) -> Files:
        """What batches are sampled from; where an agent draws them, that agent and the batches of the first round."""
        part: str = wildcards.get("part")
        first = part.removeprefix(SECOND)
        seen = run_layout.CYCLE.below(f"{self.folder}/{self._plan.sampled_by(part)}")
        found: Files = {
            "dataset": self.dataset(wildcards),
            "pool": f"{self.folder}/{first}{run_layout.CYCLE.pool}",
            "embeddings": seen.embeddings,
            "detections": seen.detections,
        }
        if part.startswith(SECOND):
            found["agent"] = f"{self.folder}/{SECOND}{run_layout.CYCLE.agent}"
            found["first"] = f"{self.folder}/{first}{run_layout.CYCLE.batches}"
        return found

    def trained(self, some: Proxies, rivals: list[str]) -> Files:
        """What a job of proxies reads."""
        names = {"pool": True, "detector": self._plan.from_detector, "backbone_features": self._plan.frozen}
        below = {name: home(some) + getattr(run_layout.CYCLE, name) for name, needed in names.items() if needed}
        below["batches"] = some.folder + run_layout.CYCLE.batches
        found = {name: f"{self.folder}/{path}" for name, path in below.items()}
        return {"dataset": self.dataset, "images": self.run.images, **found, "rivals": self.in_cycle(rivals)}

    def indexed(self, wildcards: Wildcards) -> Files:
        """What a table reads: records and what describes their batches."""
        records = self._plan.records_of_table(wildcards.get("part"))
        return {
            "records": self.in_cycle(records[run_layout.PROXIES]),
            "carried": self._plan.carried(*_job(wildcards)),
            "control": self.in_cycle(records[run_layout.CONTROL]),
            "repeats": self.in_cycle(records[run_layout.REPEATS]),
            "embeddings": self.cycle.embeddings,
            "detections": self.cycle.detections,
            **self._of_growth(wildcards),
        }

    def _of_growth(self, wildcards: Wildcards) -> Files:
        """What a table reads beside, where its representation is growth."""
        if not self._plan.price:
            return {}
        found: Files = {"dataset": self.dataset(wildcards), "pool": self.cycle.pool, "competence": self.cycle.metrics}
        described = {"pool": True, "embeddings": self._plan.replay_seen, "detections": self._plan.replay_seen}
        for name in (name for name, there in described.items() if there):
            below = getattr(run_layout.CYCLE, name)
            found[f"replay_{name}"] = self.in_cycle(f"{split}{below}" for split in self._plan.splits)
        return found

    def table(self) -> list[str]:
        """The table of a part, as files: records, index and, where the representation is growth, the price."""
        return [self.part.records, self.part.index, *self.in_cycle(f"{{part}}{name}" for name in self._plan.price)]

    def evidence(self, wildcards: Wildcards) -> Files:
        """What a strategy reads to select. What no strategy needs is not made."""
        label = wildcards.get("label")
        elsewhere = {
            "competence": self.own.metrics,
            "held_out": self.held_out,
            "patterns": self.run.foundation,
        }
        needs = sorted(self._plan.needs[label] & set(IN_FILES))
        found = {need: elsewhere.get(need) or getattr(self.own, need) for need in needs}
        if self._plan.price and label in self._plan.searchers:
            found["price"] = self.own.price  # read by the agent's state and by polishing
        return found

    def of_cycles(self) -> list[str]:
        """What the run has made in its cycles. All of it is asked for, and so made again where one file is deleted."""
        plan = self._plan
        searched = [self.each(f"{self.folder}/{name}", plan.searchers, plan.selecting) for name in plan.prices]
        return [
            *self.each(self.cycle.metrics),
            *self.each(self.cycle.own, plan.reporting_own),
            *self.each(self.cycle.selected, cycles=plan.selecting),
            *itertools.chain(*searched),
            *(self.each(self.cycle.manifest, cycles=[plan.waiting]) if plan.waiting is not None else []),
        ]

    def next_batches(self) -> list[str]:
        """The batches after the last cycle."""
        return self.each(self.cycle.selected, cycles=self._plan.cycles[-1:])

    def reported(self, targets: Collection[str]) -> list[str]:
        """What the report shows, the batches after the last cycle too, where they are asked for or chosen.

        Of a run that waits for people they are chosen on the way, so that the next start finds the same input.

        Args:
            targets: of the run.
        """
        plan, following = self._plan, self.next_batches()
        wanted = plan.waiting is not None or "next" in targets or any(Path(path).exists() for path in following)
        searched = (self.cycle.audit, self.cycle.search)
        results = set(plan.result_files()) & {run_layout.RUN.comparison, run_layout.RUN.noise, run_layout.RUN.stopping}
        return [
            *plan.generated_images(),
            *self.of_cycles(),
            *self.each(self.cycle.training),
            *itertools.chain(*(self.each(path, plan.searchers, plan.selecting) for path in searched)),
            *(self.each(self.cycle.labels, cycles=plan.cycles[1:]) if plan.answered else []),
            *(following if wanted else []),
            *dict.fromkeys([self.run.dataset, plan.last_dataset]),
            *(f"{plan.run}/{name}" for name in sorted(results)),
        ]


def _part(wildcards: Wildcards) -> str:
    """The part of a cycle that a job is of."""
    split = wildcards.get("split")
    return wildcards.get("part", "") if split is None else run_layout.SPLIT.format(split=split)


def _job(wildcards: Wildcards) -> tuple[str, str, int]:
    """Strategy, seed and cycle of a job."""
    return wildcards.get("strategy") or wildcards.get("label"), wildcards.get("seed"), int(wildcards.get("cycle"))
