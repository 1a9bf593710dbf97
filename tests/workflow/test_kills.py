"""A run may be killed at any moment, again and again: what it comes to is the same."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import random
import time
from pathlib import Path

import pytest
from checkouts import TINY, Checkout
from test_runs import results

from mgral.report.jobs import of_run

pytestmark = pytest.mark.slow

KILLS = 10
SEED = 0


def test_ten_kills_change_nothing(finished: Checkout, project: Checkout):
    """Each kill takes Snakemake and its jobs at once, with no time to tidy up.

    The moments spread over the whole run: its jobs in ten parts, a kill at random within each, once a job has begun
    again, and up to two more seconds, or less where the last jobs are reached before. The machine may be fast or slow:
    jobs that are done are the clock. What is left after the last kill is made on one core in place of two.
    """
    undisturbed = results(finished)
    jobs = jobs_done(finished)
    assert jobs > 2 * KILLS
    moments = random.Random(SEED)
    last = jobs - 3  # the last jobs are short; a kill after the end would be none
    before: set[str] = set()
    for kill in range(KILLS):
        done = int((kill + moments.random()) * last / KILLS)
        began = time.time()
        project.kill_run(
            functools.partial(at_work, project, done, began),
            delay=moments.uniform(0, 2),
            hurry=lambda: jobs_done(project) >= last,
        )
        left = results(project)
        assert left == {path: undisturbed[path] for path in left}, f"after kill {kill}"
        assert set(left) >= before, f"kill {kill} took away what was done"
        before = set(left) - unfinished(project)
        project.call("snakemake", "--unlock", "--configfile", TINY)
    project.snakemake(cores=1)
    resumed = results(project)
    chosen = [path for path in undisturbed if path.endswith("selected.json")]
    assert len(chosen) == 3  # tiny.yaml: random, ll4al and mgral, between cycles 0 and 1
    assert {path: resumed[path] for path in chosen} == {path: undisturbed[path] for path in chosen}
    assert resumed == undisturbed
    assert project.plan() == {}


def unfinished(checkout: Checkout) -> set[str]:
    """Outputs of jobs whose end Snakemake has not seen. Whole as they may be, it makes them again.

    It takes the marks from the outputs of a job one by one: what has lost its mark belongs to a job that has not, where
    both are recorded with the same log.
    """
    marked = recorded(checkout, "incomplete")
    logs = {}
    for path, record in recorded(checkout, "metadata").items():
        with contextlib.suppress(ValueError):  # the kill has cut it off
            logs[path] = tuple(json.loads(record.read_text())["log"])
    begun = {logs[path] for path in marked.keys() & logs.keys()}
    return marked.keys() | {path for path, log in logs.items() if log in begun}


def recorded(checkout: Checkout, kind: str) -> dict[str, Path]:
    """Snakemake's files about outputs of the run, by path below the run's folder."""
    folder = checkout.root / ".snakemake" / kind  # named by paths in base64, cut into folders that begin with @ if long
    run = checkout.run_folder.relative_to(checkout.root)
    found = {}
    for file in folder.rglob("*"):
        if file.is_file():
            name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
            path = Path(base64.urlsafe_b64decode(name).decode())
            if path.is_relative_to(run):
                found[path.relative_to(run).as_posix()] = file
    return found


def at_work(checkout: Checkout, done: int, began: float) -> bool:
    """Whether so many jobs are done, by the ends of their logs, and another has begun after a time, by its log."""
    if jobs_done(checkout) < done:
        return False
    with contextlib.suppress(FileNotFoundError):  # Snakemake may put a log away meanwhile
        return any(log.stat().st_mtime > began for log in checkout.run_folder.glob("logs/*/*.log"))
    return False


def jobs_done(checkout: Checkout) -> int:
    """How many jobs are done, by the ends of their logs."""
    return len(of_run(checkout.run_folder))
