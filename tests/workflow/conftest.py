"""Whole small runs, in a copy of the checkout. One finished run is shared: a test that changes it takes a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkouts import Checkout, copy_project


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
    shutil.copytree(finished.root, tmp_path / "project", symlinks=True)
    return Checkout(tmp_path / "project")
