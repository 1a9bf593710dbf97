"""Whole small runs, in a copy of the checkout. One finished run is shared: a test that changes it takes a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkouts import TINY, Checkout, copy_project


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A copy of the checkout in which nothing has run."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished run of params/tiny.yaml on two cores. Shared: look, and change nothing."""
    copy = copy_project(tmp_path_factory.mktemp("finished") / "project")
    copy.snakemake()
    return copy


@pytest.fixture
def checkout(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished run, to change."""
    return duplicate(finished, tmp_path / "project")


@pytest.fixture(scope="session")
def tracked(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished run that `make record` has taken into DVC, and git with it. Shared: look, and change nothing."""
    copy = duplicate(finished, tmp_path_factory.mktemp("tracked") / "project")
    environment = copy.root / ".venv"  # tell make that it is built: the commands are those that run the tests
    environment.mkdir()
    for stamp in (".pinned", ".ready"):
        (environment / stamp).touch()
    copy.call("make", "record", f"PARAMS={TINY}")
    copy.git_commit()
    return copy


@pytest.fixture
def recorded(tracked: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the recorded run, to change."""
    return duplicate(tracked, tmp_path / "project")


def duplicate(checkout: Checkout, to: Path) -> Checkout:
    shutil.copytree(checkout.root, to, symlinks=True)
    return Checkout(to)
