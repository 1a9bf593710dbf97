"""What an experiment will take before it runs: trainings, processor time, wall time on some cores, disk.

The jobs and what they wait for come from Snakemake's own graph (``snakemake --d3dag``), so nothing is counted twice
in two ways. What one job takes is put together from what a probe timed, see :mod:`mgral.planning.timing`.
"""

from __future__ import annotations

import heapq
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mgral.config.schema import Params
from mgral.core.errors import MgralError
from mgral.core.rule_names import COPIES, RULES, TARGETS, rule_of
from mgral.core.types import SPLITS, Split
from mgral.data.image_cache import AHEAD
from mgral.data.resizing import Resizing
from mgral.planning import requests
from mgral.reward import proxy_plan

# Rules by what their jobs do. Where {part} makes a difference, the part follows: see :func:`read_graph`.
LIGHT = {"generate", "import_data", "pool", "annotate", "replay_split", "noise", "curve", "comparison"}
LIGHT |= {"export", "labels", "subset", "stopping"}
REPLAY_TRAINING, FIRST_SEARCH = "train/replay", "search/second_round"
TRAININGS = {"train", REPLAY_TRAINING, "retrain", "train_subset"}
SEARCHES = {"search", FIRST_SEARCH}
COPIED, CACHED = "copies of what strategies share", "DVC's cache"
SCORINGS = {"score", "score_own"}


@dataclass(frozen=True)
class Graph:
    """The jobs of an experiment.

    Attributes:
        rules: name of the rule by job, with the part where that makes a difference.
        after: the jobs that each job waits for.
    """

    rules: Mapping[int, str]
    after: Mapping[int, Sequence[int]]

    @property
    def counts(self) -> Counter[str]:
        """Jobs of each rule; the chunks of proxies under ``proxy``."""
        return Counter(rule_of(rule) for rule in self.rules.values())


@dataclass(frozen=True)
class Sizes:
    """Images of each split, and what a detector is given of them: where large ones are cut, their tiles.

    Attributes:
        train, val, test: images.
        more: inputs by split beyond the images.
    """

    train: int
    val: int
    test: int
    more: Mapping[Split, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Images of all splits."""
        return self.train + self.val + self.test

    def inputs(self, *splits: Split) -> int:
        """Images of some splits, each tile of a large one counted."""
        images: dict[Split, int] = {"train": self.train, "val": self.val, "test": self.test}
        return sum(images[split] + self.more.get(split, 0) for split in splits)


@dataclass(frozen=True)
class Timing:
    """What a probe found on this machine; seconds, and bytes.

    Attributes:
        light: to start a step that loads no torch; ``start``: one that does.
        decode: to decode and resize an image, or a tile.
        step: an optimiser step of the detector.
        look: to run the detector over an image, or a tile, and score what it found.
        proxy_step: an optimiser step of a proxy; ``proxy``: the rest of a proxy run, without looking at val.
        scan: an iteration of the search.
        detector, agent: size of the weights.
        detections: size of an image's detections, at most.
        embedding: size of an image's embedding.
    """

    light: float
    start: float
    decode: float
    step: float
    look: float
    proxy_step: float
    proxy: float
    scan: float
    detector: int
    agent: int
    detections: int
    embedding: int


def ask_snakemake(python: str, params: Sequence[str]) -> Any:
    """The graph of a whole experiment, as ``snakemake --d3dag`` prints it.

    Args:
        python: path of an interpreter that has Snakemake.
        params: files of the experiment's parameters.

    Raises:
        MgralError: Snakemake cannot be run, or refuses; with its own words. It gives no graph of more than 10,000 jobs.
    """
    if "-" in params:
        raise MgralError("--params -: Snakemake reads files; name one, or give the graph of the jobs as --graph FILE")
    whole = ["--cores", "1", "--nolock", "--forceall", "--d3dag", "--configfile", *params, "--", "all"]
    try:
        done = subprocess.run([python, "-m", "snakemake", *whole], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MgralError(f"--python {python}: cannot be run ({error.strerror}); name one that has Snakemake") from None
    if done.returncode:
        words = done.stderr.strip() or "it says nothing"
        raise MgralError(f"--python {python}: Snakemake finds no jobs for these parameters: {words}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise MgralError(f"Snakemake gives no graph of these jobs: {done.stdout.strip()}") from None


def read_graph(value: Any) -> Graph:
    """What ``snakemake --d3dag`` prints.

    Raises:
        MgralError: something else.
    """
    try:
        rules = {int(node["id"]): str(node["value"]["rule"]) for node in value["nodes"]}
        after: dict[int, list[int]] = defaultdict(list)
        for edge in value["edges"]:
            after[int(edge["v"])].append(int(edge["u"]))
    except (KeyError, TypeError, ValueError):
        raise MgralError("--graph: not a graph of jobs; make it with `snakemake --forceall --d3dag`") from None
    # The graph names rules and no wildcards. The part of a job follows from its neighbours: a detector for replay is
    # trained on a pool that was split, and only the agent of the first round has a job that samples batches after it.
    parts = {}
    for job, before in after.items():
        for one in before:
            if (rules.get(one), rules.get(job)) == ("replay_split", "train"):
                parts[job] = REPLAY_TRAINING
            elif (rules.get(one), rules.get(job)) == ("search", "sample_batches"):
                parts[one] = FIRST_SEARCH
    return Graph(rules | parts, dict(after))


def trainings(graph: Graph, params: Params) -> dict[str, int]:
    """Detectors, repeats of one pool for the noise, proxies, and searches of an agent.

    A search may train up to ``search.fallback`` proxies more.
    """
    counts = graph.counts
    in_job = _proxies(params)
    proxies = sum(in_job.get(rule, 0) for rule in graph.rules.values())
    return {
        "detectors": counts["train"],
        "detectors, for replay": counts[REPLAY_TRAINING],
        "detectors, for the noise": counts["retrain"],
        "proxies": proxies,
        "proxies in searches, at most": counts["search"] * _fallback("search", params),
        "agents": counts["search"] + counts[FIRST_SEARCH],
    }


def seconds(rule: str, params: Params, sizes: Sizes, timing: Timing) -> float:
    """Processor time of one job; of a rule that nobody timed, that of its start.

    Nor was what a selection computes, which may be little (random) or much (cdal). A scoring counts as a
    training and an inference over the pool, which few strategies exceed.
    """
    looks = 2 if params.proxy.judged_after else 1  # whatever is stopped takes less
    run = timing.proxy + params.proxy.steps * timing.proxy_step + looks * sizes.inputs("val") * timing.look
    if rule in (*TARGETS, *COPIES):
        return 0.0
    if rule in TRAININGS:
        return timing.start + params.training.steps * timing.step + sizes.inputs("val", "test") * timing.look
    if rule in SCORINGS:
        looked_at = sizes.inputs("train") if rule == "score" else sizes.inputs(*SPLITS)
        return timing.start + params.training.steps * timing.step + looked_at * timing.look
    if rule == "embed":
        return timing.start + sizes.inputs("train") * timing.look
    if rule_of(rule) == "proxy":
        return timing.start + _proxies(params)[rule] * run
    if rule in SEARCHES:
        return timing.start + params.search.iterations * timing.scan + _fallback(rule, params) * run
    if rule == "cache":
        return timing.light + sizes.inputs(*SPLITS) * timing.decode
    return timing.light if rule in LIGHT else timing.start


def schedule(graph: Graph, durations: Mapping[str, float], workers: int) -> float:
    """Wall time if ``workers`` jobs run side by side and a free worker takes the job that has waited longest.

    Args:
        graph: the jobs and which waits for which.
        durations: seconds of a job by rule.
        workers: at least 1.
    """
    waiting = {job: len(graph.after.get(job, ())) for job in graph.rules}
    followers: dict[int, list[int]] = defaultdict(list)
    for job, before in graph.after.items():
        for one in before:
            followers[one].append(job)
    ready = [(0.0, job) for job, count in sorted(waiting.items()) if count == 0]
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, job = heapq.heappop(ready)
            heapq.heappush(running, (now + durations[graph.rules[job]], job))
        now, done = heapq.heappop(running)
        for job in followers[done]:
            waiting[job] -= 1
            if waiting[job] == 0:
                heapq.heappush(ready, (now, job))
    return now


def disk(graph: Graph, params: Params, sizes: Sizes, timing: Timing) -> dict[str, int]:
    """Bytes of what is large, each content once: the decoded images, weights, embeddings and detections.

    Two entries are of the same contents again. A file system with reflinks (XFS, Btrfs, APFS) shares them: the copies
    that strategies get of what they share, and DVC's cache.
    """
    counts = graph.counts
    side = Resizing.of(params.resize, params.image_size, params.longest_edge).largest_side
    detectors, agents = sum(counts[rule] for rule in TRAININGS), sum(counts[rule] for rule in SEARCHES)
    view = sizes.train * (timing.embedding + timing.detections)
    found = {
        "decoded images": sizes.inputs(*SPLITS) * side**2 * 3 if params.cache == "decoded" else 0,
        "detectors": detectors * timing.detector,
        "embeddings": counts["embed"] * sizes.train * timing.embedding,
        "detections, at most": counts["embed"] * sizes.train * timing.detections,
        "agents": agents * timing.agent,
    }
    shared = {"share_detector": timing.detector, "share_evidence": view, "share_agent": timing.agent}
    again = {COPIED: sum(counts[rule] * size for rule, size in shared.items()), CACHED: sum(found.values())}
    return found | again


def memory(params: Params) -> int:
    """Bytes of the images that a training holds: its batch as numbers of 4 bytes, and what is read ahead as 1 byte.

    The network's own memory comes on top; it depends on the detector.
    """
    side = Resizing.of(params.resize, params.image_size, params.longest_edge).largest_side
    batch = max(params.training.batch_size, params.proxy.batch_size) * side**2 * 3
    ahead = AHEAD * (params.machine.decoders if params.cache == "none" else 1)
    return batch * (4 + 1 + ahead)


def _proxies(params: Params) -> dict[str, int]:
    """Proxies of a job, by its rule."""
    return {
        f"{some.rule}_{position}": len(names)
        for some in proxy_plan.proxies(params.proxy)
        for position, names, _ in some.jobs(params.proxy)
    }


def _fallback(rule: str, params: Params) -> int:
    """Proxies that a search may train: none before a second round, nor where the table holds replay records alone."""
    return params.search.fallback if rule == "search" and "unlabelled" in params.proxy.kinds else 0


def table(graph: Graph, params: Params, sizes: Sizes, timing: Timing, workers: int) -> list[str]:
    """The forecast for people, one line each."""
    durations = {rule: seconds(rule, params, sizes, timing) for rule in set(graph.rules.values())}
    by_rule: dict[str, float] = defaultdict(float)
    for rule in graph.rules.values():
        by_rule[rule_of(rule)] += durations[rule]
    counts = graph.counts
    lines = [f"{params.experiment}: {sum(counts.values())} jobs, from nothing"]
    if (inputs := sizes.inputs(*SPLITS)) > sizes.images:
        lines.append(f"A detector is given {inputs} inputs: the {sizes.images} images, large ones cut into tiles.")
    initial = 0 if params.budget.initial == "all" else params.budget.initial  # how many are annotated is not known here
    wanted = initial + (params.cycles - 1) * params.budget.batch
    if wanted > sizes.train:
        lines.append(
            f"The pool is exhausted before the last cycle: {sizes.train} images, and the budget takes {wanted}."
        )
    lines += ["", "trainings"]
    lines += [f"  {name:<30}{count:>8}" for name, count in trainings(graph, params).items()]
    lines += ["", f"{'step':<32}{'jobs':>8}{'each':>12}{'in all':>12}"]
    for rule, total in sorted(by_rule.items(), key=lambda item: (-item[1], item[0])):
        if total:
            lines.append(f"  {rule:<30}{counts[rule]:>8}{_time(total / counts[rule]):>12}{_time(total):>12}")
    lines.append(f"  {'together':<50}{_time(sum(by_rule.values())):>12}")
    wall = schedule(graph, durations, workers)
    lines.append(f"  {f'on the wall, {workers} jobs at a time, at least':<50}{_time(wall):>12}")
    lines += ["", "disk"]
    space = disk(graph, params, sizes, timing)
    lines += [f"  {name:<50}{_space(size):>12}" for name, size in space.items()]
    once = sum(size for name, size in space.items() if name not in (COPIED, CACHED))
    lines.append(f"  {'together, on a file system with reflinks':<50}{_space(once):>12}")
    lines.append(f"  {'together, on others':<50}{_space(sum(space.values())):>12}")
    peaks = requests.peak_memory(counts, sizes.train)
    if peaks:
        lines += ["", "peak memory of a job, at most, where it grows with the pool"]
        lines += [f"  {rule:<50}{_space(size * 2**20):>12}" for rule, size in peaks.items()]
    lines += ["", f"{'memory of a job, for images':<52}{_space(memory(params)):>12}"]
    lines += ["", "What a selection computes, and Snakemake's own time between jobs, come on top."]
    lines.append("The batch after the last cycle (snakemake -- next) is not in it.")
    untimed = sorted(set(counts) - set(RULES) - {REPLAY_TRAINING, FIRST_SEARCH})
    if untimed:
        lines.append(f"Not timed, and counted as their start alone: {', '.join(untimed)}.")
    return lines


def _time(total: float) -> str:
    if total < 60:
        return f"{total:.1f} s"
    return f"{total / 60:.1f} min" if total < 7200 else f"{total / 3600:.1f} h"


def _space(size: float) -> str:
    return f"{size / 2**20:.1f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
