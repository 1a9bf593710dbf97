"""What the rules ask about an experiment: who shares which files, what follows what, what DVC tracks."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from mgral.annotation.returns import Folder
from mgral.config import loading
from mgral.config.embedding import RANDOM
from mgral.config.schema import Params, Strategy
from mgral.core import plugins, run_layout
from mgral.core.run_layout import CYCLE, RUN, SECOND
from mgral.data import source_files
from mgral.data.source_files import SourceFiles
from mgral.reward import proxy_plan
from mgral.reward.proxy_plan import Proxies
from mgral.strategies import _contract

RECORDS = (run_layout.PROXIES, run_layout.CONTROL, run_layout.REPEATS)


class RunPlan:
    """The plan of a checked experiment.

    Attributes:
        experiment: its parameters.
        run: folder of the run.
        raw: folder of its data set, if that is generated.
        strategies: by label.
        needs: what the strategy of each label needs, see ``strategies/_contract``.
        annotations: folder of what people said.
        waiting: the cycle whose batch waits for people; None if none does.
        cycles: the cycles that can be computed: all, or those up to :attr:`waiting`.
        selecting: the cycles that end with a selection: all but the last, whose selection is the target ``next``.
        proxies: the proxies of a cycle.

    Raises:
        MgralError: what people said is damaged; names the file.
    """

    def __init__(self, experiment: Params) -> None:
        self.experiment = experiment
        self.run = run_layout.run_folder(experiment.experiment)
        self.raw = run_layout.raw_folder(experiment.experiment)
        self.strategies: dict[str, Strategy] = {strategy.name: strategy for strategy in experiment.strategies}
        plugin = {label: plugins.load("strategies", strategy.plugin) for label, strategy in self.strategies.items()}
        self.needs: dict[str, frozenset[str]] = {label: module.NEEDS for label, module in plugin.items()}
        self.annotations = run_layout.annotations_folder(experiment.experiment)
        self.waiting = next((c for c in range(experiment.cycles - 1) if self.asks_people and not self.closed(c)), None)
        self.cycles = range(experiment.cycles if self.waiting is None else self.waiting + 1)
        self.selecting = range(min(len(self.cycles), experiment.cycles - 1))
        self.proxies = proxy_plan.proxies(experiment.proxy)

    @cached_property
    def baselines(self) -> list[str]:
        """Labels of strategies that neither train an agent nor read the truth."""
        return [label for label, needs in self.needs.items() if not needs & {"agent", "truth"}]

    @cached_property
    def source(self) -> SourceFiles | None:
        """The files of a user's data set; None where it is generated."""
        return None if self.generated else source_files.find(self.experiment.dataset)

    @property
    def listing(self) -> str | None:
        """Where a replaced image is noticed, a hash of the images: not of generated nor of registered ones.

        Of registered images each batch notes the sha256, and one more trains nothing again.
        """
        return self.source.listing if self.source and not self.registered else None

    @cached_property
    def searchers(self) -> list[str]:
        """Labels of strategies that need an agent."""
        return [label for label, needs in self.needs.items() if "agent" in needs]

    @cached_property
    def reporting_own(self) -> list[str]:
        """Labels of strategies whose own detector is evaluated beside the plain one."""
        return [label for label, strategy in self.strategies.items() if strategy.reports_own]

    @property
    def asks_people(self) -> bool:
        """Whether people answer, so that the run waits for them."""
        return self.experiment.oracle.kind == "people"

    @property
    def answered(self) -> bool:
        """Whether people answer, real or simulated: each cycle after the first has a data set of its own."""
        return self.experiment.oracle.kind != "dataset"

    def closed(self, cycle: int) -> list[str]:
        """The files that the labels of a cycle's batch are made of; none while the batch is not closed."""
        folder = Folder(Path(run_layout.answers_folder(self.annotations, cycle)))
        return folder.counted() if folder.closed.exists() else []

    def tools(self, cycle: int) -> list[str]:
        """Modules of the tools that read what was said of a cycle's batch."""
        chosen = [self.experiment.annotation.tool]
        if self.asks_people:
            folder = Folder(Path(run_layout.answers_folder(self.annotations, cycle)))
            chosen = sorted({file.tool for file in folder.read_closed().files})
        return [f"mgral.annotation.tools.{tool}" for tool in chosen]

    def dataset_of(self, strategy: str, seed: int | str, cycle: int) -> str:
        """The data set that a cycle knows: where people answer, each cycle adds what they said to the one before."""
        if self.answered and cycle > 0:
            return f"{run_layout.cycle_folder(self.run, strategy, seed, cycle)}/{CYCLE.dataset}"
        return f"{self.run}/{RUN.dataset}"

    def answers(self, cycle: int | str) -> list[str]:
        """The files that the labels of a cycle are made of: ``closed.json`` and those that it names."""
        return self.closed(int(cycle) - 1)

    def past(self, strategy: str, seed: int | str, cycle: int) -> list[str]:
        """What people said of all earlier batches, where the budget is counted by them."""
        cycles = range(1, cycle + 1) if self.experiment.budget.amount is not None else []
        return [f"{run_layout.cycle_folder(self.run, strategy, seed, one)}/{CYCLE.labels}" for one in cycles]

    @property
    def last_dataset(self) -> str:
        """The data set of the last cycle, of the first strategy and seed."""
        return self.dataset_of(next(iter(self.strategies)), self.experiment.seeds[0], self.cycles[-1])

    @property
    def registered(self) -> list[str]:
        """``images.json``, if people answer: the ids and splits of the images that they are asked about."""
        return [run_layout.register(self.annotations)] if self.asks_people else []

    @property
    def generated(self) -> bool:
        """Whether the workflow makes the data set itself."""
        return self.experiment.dataset.format == "synthetic"

    @property
    def from_detector(self) -> bool:
        """Whether proxies start from a detector; from scratch, replay needs no detector of its own."""
        return self.experiment.proxy.start == "detector"

    @property
    def frozen(self) -> bool:
        """Whether proxies train the detector's head alone, on features of the backbone that are computed once."""
        return self.experiment.proxy.backbone == "frozen"

    @property
    def by_patterns(self) -> bool:
        """Whether the first images or a strategy's batches are chosen by local patterns."""
        return loading.by_patterns(self.experiment)

    @property
    def by_backbone(self) -> bool:
        """Whether embeddings come from a backbone that is no part of the detector."""
        return self.experiment.embedding.kind == "backbone"

    @property
    def weights_of_backbone(self) -> list[str]:
        """The weights file of such a backbone, if it has one."""
        weights = self.experiment.embedding.weights
        return [weights] if weights not in (None, RANDOM) and (self.by_patterns or self.by_backbone) else []

    def dataset_files(self) -> list[str]:
        """What is computed of the data set once, for all seeds and strategies, below the run's folder."""
        return [RUN.images, *([RUN.foundation] if self.by_patterns or self.by_backbone else [])]

    @property
    def price(self) -> list[str]:
        """What the table of a cycle makes beside the rest, where its representation is growth."""
        return [CYCLE.price] if self.experiment.table.representation == "growth" else []

    @property
    def prices(self) -> list[str]:
        """The comparison of predicted gains in a cycle of a searcher, where the surrogate is one that makes it."""
        return [CYCLE.prices] if self.experiment.table.surrogate == "bayes" else []

    @property
    def replay_seen(self) -> bool:
        """Whether a detector that was not trained on them describes the held-out images."""
        return "replay" in self.experiment.proxy.kinds and self.from_detector

    def generated_images(self) -> list[str]:
        """The images of a generated data set. A user's are not listed: there may be a hundred thousand."""
        if not self.generated:
            return []
        from mgral.data.formats import synthetic

        options = synthetic.Options.parse(self.experiment.dataset.options, "dataset.options")
        return [f"{self.raw}/{name}" for name in synthetic.image_names(options)]

    @property
    def generated_train(self) -> int | None:
        """Images of train in a generated data set; None for a user's, which only the import counts."""
        if not self.generated:
            return None
        from mgral.data.formats import synthetic

        return synthetic.Options.parse(self.experiment.dataset.options, "dataset.options").train

    def parameters(self) -> dict[str, Any]:
        """All parameters as JSON values; of a generated data set with the folder that the workflow gives it."""
        found = self.experiment.model_dump(mode="json")
        if self.generated:
            found["dataset"]["root"] = self.raw
        return found

    def plugin_modules(self) -> list[str]:
        """Modules that the parameters choose: format, detector, semi-supervised part, and the strategies."""
        return [
            f"mgral.data.formats.{self.experiment.dataset.format}",
            f"mgral.detection.detectors.{self.experiment.detector.name}",
            f"mgral.reward.semi.{self.experiment.proxy.semi}",
            *(f"mgral.strategies.{strategy.plugin}" for strategy in self.experiment.strategies),
        ]

    @cached_property
    def strategy_modules(self) -> dict[str, list[str]]:
        """Modules of a strategy and of those that it runs, by label."""
        return {label: _contract.modules_of(strategy) for label, strategy in self.strategies.items()}

    @property
    def splits(self) -> list[str]:
        """The folders of the replay splits of a cycle; none without replay."""
        proxy = self.experiment.proxy
        return [run_layout.replay(k) for k in range(1, proxy.splits + 1)] if "replay" in proxy.kinds else []

    @property
    def looked_at(self) -> list[str]:
        """The folders of the replay splits whose held-out images strategies look at; one where there is no replay."""
        return [run_layout.replay(k) for k in range(1, self.experiment.proxy.splits + 1)]

    def records(self, name: str, second: Collection[bool] = (False, True)) -> list[str]:
        """Records below a cycle's folder: of ``proxies``, ``control`` or ``repeats``, of both rounds or of one."""
        return [
            record
            for some in self.proxies
            if some.second in second
            for record in some.files
            if record.startswith(f"{some.folder}{name}/")
        ]

    def records_of_table(self, part: str) -> dict[str, list[str]]:
        """What the table of a part indexes: all records, with those for the audit; before a second round its first."""
        if part == SECOND:
            return {name: self.records(name, [False]) if name == run_layout.PROXIES else [] for name in RECORDS}
        return {name: self.records(name) for name in RECORDS}

    def sampled_by(self, part: str) -> str:
        """The part of the cycle whose detector gives the evidence that batches of a part are sampled by.

        Designed batches of replay follow what the detector knows that has not seen their images.
        """
        designed = self.experiment.proxy.generators.get("designed", 0) > 0
        return part if part in self.splits and designed and self.from_detector else run_layout.FIRST

    def polish(self, label: str) -> list[str | float]:
        """How an agent's batch is polished and compared with the rule's, as options; none where there is no price."""
        if not self.price or label not in self.searchers:
            return []
        search = self.experiment.search
        return ["--polish", search.polish, "--caution", search.caution, "--certainty", search.certainty]

    def shared(self) -> dict[str, list[str]]:
        """What strategies share of cycle 0, below its folder, by the rule ``share_<key>`` that copies it."""
        replay = run_layout.OF_DETECTOR if self.from_detector else [CYCLE.pool]
        agent = [file for some in self.proxies for file in (f"{some.folder}{CYCLE.batches}", *some.files)]
        agent += [f"{split}{name}" for split in self.splits for name in replay]
        table = [*run_layout.OF_TABLE, *self.price, *run_layout.OF_SEARCH]
        if any(some.second for some in self.proxies):
            agent += [f"{SECOND}{name}" for name in table]
        return {
            "detector": run_layout.OF_DETECTOR,
            "evidence": run_layout.OF_EVIDENCE,
            "held_out": [f"{split}{name}" for split in self.looked_at for name in run_layout.OF_HELD_OUT],
            "agent": agent + table,
        }

    def shared_targets(self) -> list[str]:
        """Of what is shared in cycle 0, the files that the rest is made on the way to."""
        needs = frozenset[str]().union(*self.needs.values()) if self.selecting else frozenset[str]()
        held_out = [f"{split}{CYCLE.detections}" for split in self.looked_at] if "held_out" in needs else []
        if "agent" in needs:
            return [CYCLE.agent, *held_out]
        if {"embeddings", "detections"} & needs:
            return [CYCLE.metrics, CYCLE.embeddings, *held_out]
        return [CYCLE.metrics]

    def kept(self, strategy: str) -> list[str]:
        """What ``mgral embed`` keeps of a cycle's detections.

        That is what strategies read of them, and the generators of batches and the price where an agent is trained.

        Args:
            strategy: whose cycle, as in a path.
        """
        labels = list(self.strategies) if strategy == run_layout.SHARED else [strategy]
        found = frozenset[str]().union(*(self._read[label] for label in labels))
        if set(labels) & set(self.searchers):
            drawn = {name for name, share in self.experiment.proxy.generators.items() if share > 0}
            found |= {"probabilities"} if self.price or drawn & proxy_plan.READ_PROBABILITIES else set()
        return sorted(found)

    @cached_property
    def _read(self) -> dict[str, frozenset[str]]:
        """What of detections a strategy reads, by label."""
        return {label: _contract.kept_for(strategy) for label, strategy in self.strategies.items()}

    def carried(self, strategy: str, seed: int | str, cycle: int) -> list[str]:
        """The records of earlier cycles that stay in the table of this one (``table.carry``)."""
        earlier = range(max(0, cycle - self.experiment.table.carry), cycle)
        folders = [run_layout.cycle_folder(self.run, strategy, seed, one) for one in earlier]
        return [f"{folder}/{name}" for folder in folders for name in run_layout.CARRIED]

    def tracked_cycles(self) -> Iterator[dict[str, Any]]:
        """Every cycle of every strategy and seed: its folder, the last files made there, and what it follows.

        A table of carried records follows those of all earlier cycles: each of them in the table of the next. What
        people said of a batch precedes the next cycle, as do the labels of all earlier ones.
        """
        for label, seed, cycle in itertools.product(self.strategies, self.experiment.seeds, self.cycles):
            before = run_layout.cycle_folder(self.run, label, seed, cycle - 1)
            carries = self.answered or (label in self.searchers and self.experiment.table.carry)
            after = before if carries else f"{before}/{CYCLE.selected}"
            files = [CYCLE.metrics]
            files += [CYCLE.own] if label in self.reporting_own else []
            files += [CYCLE.selected] if cycle in self.selecting else []
            files += [CYCLE.manifest] if self.asks_people and cycle in self.selecting else []
            said = [run_layout.answers_folder(self.annotations, cycle - 1)] if cycle else self.registered
            yield {
                "name": f"{label}-{seed}-{cycle}",
                "folder": run_layout.cycle_folder(self.run, label, seed, cycle),
                "files": files,
                "after": after if cycle else self.shared_folder(seed),
                "said": said[0] if self.asks_people else None,
            }

    def shared_folder(self, seed: int | str) -> str:
        """Where what strategies share of cycle 0 is computed."""
        return run_layout.cycle_folder(self.run, run_layout.SHARED, seed, 0)

    def command(self, overrides: Iterable[str]) -> str:
        """The command that makes the run.

        Args:
            overrides: its parameter files besides the base.
        """
        given = list(overrides)
        return shlex.join(["snakemake", "--cores", "all", *(["--configfile", *given] if given else [])])

    def searched_folders(self) -> dict[str, list[str]]:
        """The cycles in which an agent was trained, by strategy; of the first seed, as in the report's gallery."""
        if not self.selecting:
            return {}
        seed = self.experiment.seeds[0]
        return {
            label: [run_layout.cycle_folder(self.run, label, seed, cycle) for cycle in self.selecting]
            for label in self.searchers
        }

    def results(self) -> list[str]:
        """What lies below the run's folder beside its data set and its cycles."""
        names = [RUN.curve, RUN.summary, RUN.comparison, RUN.report, RUN.figures, RUN.logs]
        names += [RUN.noise, RUN.retrained] if self.experiment.noise.repeats else []
        return names + ([RUN.stopping, RUN.parts] if self.parts() else [])

    def result_files(self) -> list[str]:
        """The results that are files. The target ``all`` asks for each, so that a deleted one is made again."""
        noise = [RUN.noise] if self.experiment.noise.repeats else []
        stopping = [RUN.stopping] if self.parts() else []
        return [RUN.curve, RUN.summary, *noise, *stopping, RUN.comparison, RUN.report]

    def parts(self) -> dict[str, float]:
        """The trainings on parts of the last labelled pool, by number, with the share of it that each has."""
        shares = [share for share in self.experiment.stopping.shares for _ in range(self.experiment.stopping.repeats)]
        return {str(number): share for number, share in enumerate(shares)}

    @property
    def last_folder(self) -> str:
        """The folder of the last cycle of the first strategy and seed."""
        label, seed = next(iter(self.strategies)), self.experiment.seeds[0]
        return run_layout.cycle_folder(self.run, label, seed, self.cycles[-1])

    def metrics(self) -> list[str]:
        """The results that ``dvc metrics`` shows."""
        return [RUN.summary, *([RUN.noise] if self.experiment.noise.repeats else [])]


def home(some: Proxies) -> str:
    """The part of a cycle with the pool and detector of some proxies; replay's have not seen what is split off."""
    return run_layout.replay(some.split) if some.kind == "replay" else run_layout.FIRST


def one_of(labels: Iterable[str]) -> str:
    """A pattern for the labels; of none at all one that nothing matches."""
    return "|".join(map(re.escape, labels)) or "(?!)"
