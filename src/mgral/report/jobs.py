"""What a job took and where it ran: the last line of its log.

A verb that ends well signs its log (:func:`signature`). Results do not hold the host or the hour, so that equal
results are equal bytes. Processor time and peak memory are the operating system's account of the whole process; a
benchmark of Snakemake would be samples, every 30 seconds after the first fifteen, and miss what follows the last.
"""

from __future__ import annotations

import platform
import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mgral.core import run_layout
from mgral.core.rule_names import RULES
from mgral.core.run_layout import CYCLE

_SIGNATURE = re.compile(
    r"done on (?P<host>\S+) at (?P<ended>\S+) after (?P<seconds>[\d.]+) s, "
    r"(?P<processor>[\d.]+) s of processor time, at most (?P<memory>\d+) MiB"
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
        seconds: wall time of the command, without the start of its interpreter and the wait for a GPU.
        processor: processor seconds, of the user and the system, with those of its child processes.
        memory: peak resident memory in MiB, of the largest process.
        host: where it ran.
        ended: when, ISO 8601 in UTC.
    """

    step: str
    name: str
    seconds: float
    processor: float
    memory: float
    host: str
    ended: str


def signature(began: float) -> str:
    """The line that ends the log of a job: where and when, and what the process and its children took.

    Args:
        began: ``time.perf_counter()`` when the verb was called.
    """
    seconds = time.perf_counter() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(one.ru_utime + one.ru_stime for one in used)
    memory = max(one.ru_maxrss for one in used) / _MEBIBYTE
    return (
        f"done on {platform.node() or 'unknown'} at {datetime.now(UTC).isoformat(timespec='seconds')} "
        f"after {seconds:.2f} s, {processor:.2f} s of processor time, at most {memory:.0f} MiB"
    )


def of_run(run: Path) -> list[Job]:
    """All jobs of a run, by step and name. Copies have none, and a log that is not signed is of a job that failed."""
    return list(_signed(run_layout.logs(run)))


def of_cycle(folder: Path) -> list[Job]:
    """The jobs of one cycle of one strategy and seed, in the order of the work; none for any other folder.

    Those of cycle 0 that are done once for all strategies (``shared``) are among them, if what they made lies in the
    folder.
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

    ours = [entry for entry in run_layout.logs(run) if among(entry[0], entry[1])]
    return sorted(_signed(ours), key=lambda job: _ORDER.get(_rule(job.step), len(_ORDER)))


def _rule(step: str) -> str:
    """The rule of a step, which may have the part of the cycle or the number of a replay split after it."""
    return re.sub(r"-\d+$", "", step.partition("/")[0])


def seconds_by_step(run: Path) -> dict[str, list[float]]:
    """Wall time of each job of a run by step, the step with the longest total first."""
    found: dict[str, list[float]] = {}
    for job in of_run(run):
        found.setdefault(job.step, []).append(job.seconds)
    return dict(sorted(found.items(), key=lambda item: (-sum(item[1]), item[0])))


def _signed(logs: Iterable[tuple[str, str, Path]]) -> Iterator[Job]:
    for step, name, path in logs:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        if lines and (signed := _SIGNATURE.fullmatch(lines[-1])):
            took = {key: float(signed[key]) for key in ("seconds", "processor", "memory")}
            yield Job(step, name, **took, host=signed["host"], ended=signed["ended"])


def lines(jobs: Iterable[Job]) -> Iterator[str]:
    """The jobs as text, one a line."""
    for job in jobs:
        used = f"{job.seconds:8.1f} s {f'{job.processor:.1f} s CPU':>12} {f'{job.memory:.0f} MiB':>10}"
        yield f"{job.step:<18} {job.name:<18} {used}  on {job.host}, {job.ended}"


def totals(jobs: Iterable[Job]) -> Iterator[str]:
    """The jobs as text, one line a step, the longest first."""
    steps: dict[str, list[Job]] = {}
    for job in jobs:
        steps.setdefault(job.step, []).append(job)
    seconds = {step: sum(job.seconds for job in own) for step, own in steps.items()}
    for step in sorted(steps, key=lambda step: (-seconds[step], step)):
        own = steps[step]
        used = f"{seconds[step]:.1f} s, {sum(job.processor for job in own):.1f} s CPU"
        peak = f"at most {max(job.memory for job in own):.0f} MiB"
        hosts = ", ".join(sorted({job.host for job in own}))
        yield f"{step}: {len(own)} {'job' if len(own) == 1 else 'jobs'}, {used}, {peak} on {hosts}"
