"""What a job took and where it ran: its benchmark, written by Snakemake, and the last line of its log.

A verb that ends well signs its log (:func:`signature`). Results do not hold the host or the hour, so that equal
results are equal bytes.

Wall time is the benchmark's. Processor time and peak memory are the operating system's account of the whole process,
in the signature: Snakemake samples them every 30 seconds after the first fifteen, and misses what follows its last
sample.
"""

from __future__ import annotations

import csv
import platform
import re
import resource
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.core.files import require_regular
from mgral.core.rule_names import RULES
from mgral.core.run_layout import CYCLE

_SIGNATURE = re.compile(
    r"done on (?P<host>\S+) at (?P<time>[^\s,]+)"
    r"(, (?P<processor>[\d.]+) s of processor time, at most (?P<memory>\d+) MiB)?"  # not in logs of earlier versions
)
_MEBIBYTE = 2**20 if sys.platform == "darwin" else 2**10  # in the unit of ru_maxrss: bytes there, KiB elsewhere
# Of the steps whose results strategies share: what they take from each. From any other it is the agent.
_SHARED = {"pool": CYCLE.pool, "train": CYCLE.metrics, "embed": CYCLE.embeddings}
_ORDER = {rule: place for place, rule in enumerate(RULES)}


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Attributes:
        step: its rule, with the part of the cycle where it has one: ``train``, ``train/replay``.
        name: which of the rule's jobs: ``<strategy>-<seed>-<cycle>``, or ``all``.
        seconds: wall time.
        processor: processor seconds, of the user and the system, with those of its child processes; None as for
            ``host``, and in logs of earlier versions.
        memory: peak resident memory in MiB, of the largest process; without a signature that has it Snakemake's sample,
            None where the job was too short for one.
        host: where it ran; None if its log is not there or not signed (a copy of files has no verb).
        ended: when, ISO 8601 in UTC; None as for ``host``.
    """

    step: str
    name: str
    seconds: float
    processor: float | None
    memory: float | None
    host: str | None
    ended: str | None


def signature() -> str:
    """The line that ends the log of a job: where and when, and what the process and its children took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(one.ru_utime + one.ru_stime for one in used)
    memory = max(one.ru_maxrss for one in used) / _MEBIBYTE
    return (
        f"done on {platform.node() or 'unknown'} at {datetime.now(UTC).isoformat(timespec='seconds')}, "
        f"{processor:.2f} s of processor time, at most {memory:.0f} MiB"
    )


def of_run(run: Path, faults: list[MgralError]) -> list[Job]:
    """All jobs of a run, by step and name; a damaged benchmark is left out and added to ``faults``."""
    return _read(run, run_layout.benchmarks(run), faults)


def of_cycle(folder: Path, faults: list[MgralError]) -> list[Job]:
    """The jobs of one cycle of one strategy and seed, in the order of the work; none for any other folder.

    Those of cycle 0 that are done once for all strategies (``shared``) are among them, if what they made lies in the
    folder. A damaged benchmark is left out and added to ``faults``.
    """
    found = run_layout.cycle_of(folder.resolve())
    if not found:
        return []
    label, seed, cycle = found
    run = folder.resolve().parents[2]

    def among(step: str, name: str) -> bool:
        rule = _rule(step)
        if rule == "proxy":
            name = re.sub(r"-\d+$", "", name)  # they come in chunks
        if name == f"{label}-{seed}-{cycle}":
            return True
        taken = folder / _SHARED.get(step, CYCLE.agent)
        return name == f"{run_layout.SHARED}-{seed}-{cycle}" and cycle == 0 and taken.exists()

    ours = [entry for entry in run_layout.benchmarks(run) if among(entry[0], entry[1])]
    return sorted(_read(run, ours, faults), key=lambda job: _ORDER.get(_rule(job.step), len(_ORDER)))


def _rule(step: str) -> str:
    """The rule of a step, which may have the part of the cycle or the number of a replay split after it."""
    return re.sub(r"-\d+$", "", step.partition("/")[0])


def _read(run: Path, found: Iterable[tuple[str, str, Path]], faults: list[MgralError]) -> list[Job]:
    jobs = []
    for step, name, path in found:
        try:
            seconds, memory = read_benchmark(path)
        except MgralError as fault:
            faults.append(fault)
            continue
        signed = _signed(Path(run_layout.log(run, step, name)))
        if signed["memory"] is not None:
            memory = float(signed["memory"])
        processor = None if signed["processor"] is None else float(signed["processor"])
        jobs.append(Job(step, name, seconds, processor, memory, signed["host"], signed["time"]))
    return jobs


def read_benchmark(path: Path) -> tuple[float, float | None]:
    """Wall time in seconds and peak memory in MiB (None if not measured). Raises MgralError."""
    try:
        require_regular(path)
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        memory = row["max_rss"]
        return float(row["s"]), float(memory) if memory not in {"-", "NA"} else None
    except (KeyError, StopIteration, TypeError, ValueError):
        raise MgralError(f"{path}: not a benchmark (columns s, max_rss); delete it or run the step again") from None


def _signed(log: Path) -> dict[str, str | None]:
    """The parts of a log's signature by name; each None where it has none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    match = _SIGNATURE.fullmatch(lines[-1]) if lines else None
    return match.groupdict() if match else dict.fromkeys(_SIGNATURE.groupindex)


def lines(jobs: Iterable[Job]) -> Iterator[str]:
    """The jobs as text, one a line."""
    for job in jobs:
        processor = "" if job.processor is None else f"{job.processor:.1f} s CPU"
        memory = "" if job.memory is None else f"{job.memory:.0f} MiB"
        place = "" if job.host is None else f"on {job.host}, {job.ended}"
        yield f"{job.step:<18} {job.name:<18} {job.seconds:8.1f} s {processor:>12} {memory:>10}  {place}".rstrip()


def totals(jobs: Iterable[Job]) -> Iterator[str]:
    """The jobs as text, one line a step, the longest first."""
    steps: dict[str, list[Job]] = {}
    for job in jobs:
        steps.setdefault(job.step, []).append(job)
    seconds = {step: sum(job.seconds for job in own) for step, own in steps.items()}
    for step in sorted(steps, key=lambda step: (-seconds[step], step)):
        own = steps[step]
        processor = [job.processor for job in own if job.processor is not None]
        used = f", {sum(processor):.1f} s CPU" if len(processor) == len(own) else ""
        memory = max((job.memory for job in own if job.memory is not None), default=None)
        peak = "" if memory is None else f", at most {memory:.0f} MiB"
        hosts = sorted({job.host for job in own if job.host is not None})
        place = f" on {', '.join(hosts)}" if hosts else ""
        yield f"{step}: {len(own)} {'job' if len(own) == 1 else 'jobs'}, {seconds[step]:.1f} s{used}{peak}{place}"
