"""Whole small runs, in a copy of the checkout. One finished run is shared: a test that changes it takes a copy."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import people
import pytest
from checkouts import FOUNDATION, ROOT, TINY, Checkout, copy_project, duplicate
from nursery import Nursery

Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery | None]:
    """Forks the commands of most tests. A whole run, a conda environment and Slurm are always the real thing."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        yield None
        return
    server = Nursery(tmp_path_factory.mktemp("nursery"), ROOT / "src")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Gives a folder by its name. The first process of pytest that asks for it makes what is in it, others wait."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        done = base / f"{name}.done"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(base / name, ignore_errors=True)
                make(base / name)
                done.touch()
        return base / name

    return folder


@pytest.fixture
def project(tmp_path: Path, nursery: Nursery | None) -> Checkout:
    """A copy of the checkout in which nothing has run."""
    return copy_project(tmp_path / "project", nursery)


@pytest.fixture
def plain_project(tmp_path: Path) -> Checkout:
    """The same, and each command starts as for a user."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(shared: Shared, nursery: Nursery | None) -> Checkout:
    """A finished run of params/tiny.yaml on two cores, started as by a user. Shared: look, and change nothing."""
    return Checkout(shared("finished", lambda folder: copy_project(folder).snakemake()), nursery)


@pytest.fixture
def checkout(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished run, to change."""
    return duplicate(finished, tmp_path / "project")


@pytest.fixture(scope="session")
def tracked(finished: Checkout, shared: Shared) -> Checkout:
    """A finished run that `make record` has taken into DVC, and git with it. Shared: look, and change nothing."""

    def record(folder: Path) -> None:
        copy = duplicate(finished, folder)
        environment = copy.root / ".venv"  # tell make that it is built: the commands are those that run the tests
        environment.mkdir()
        for stamp in (".pinned", ".ready"):
            (environment / stamp).touch()
        copy.call("make", "record", f"PARAMS={TINY}")
        copy.git_commit()

    return replace(finished, root=shared("tracked", record))


@pytest.fixture
def recorded(tracked: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the recorded run, to change."""
    return duplicate(tracked, tmp_path / "project")


@pytest.fixture(scope="session")
def waiting(shared: Shared, nursery: Nursery | None) -> Checkout:
    """A run whose first batch waits for people. Shared: look, and change nothing."""
    return Checkout(shared("waiting", lambda folder: people.start(folder, nursery)), nursery)


@pytest.fixture(scope="session")
def second(waiting: Checkout, shared: Shared) -> Checkout:
    """The same run with its first batch closed and its second waiting. Shared: look, and change nothing."""
    return replace(waiting, root=shared("second", lambda folder: people.go_on(duplicate(waiting, folder))))


@pytest.fixture(scope="session")
def foundation(shared: Shared, nursery: Nursery | None) -> Checkout:
    """A run of params/tiny_foundation.yaml up to the batch after its last cycle. Shared: look, and change nothing."""
    arguments = ("--", "next")
    return Checkout(
        shared("foundation", lambda folder: copy_project(folder, nursery).snakemake(*arguments, params=FOUNDATION)),
        nursery,
    )
