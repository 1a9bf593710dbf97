"""Fixtures shared by all tests."""

from __future__ import annotations

import atexit
import copy
import functools
import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from mgral.config import loading

# Hypothesis gives an example 200 ms: how long it takes says what else the machine does, and nothing about the code.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = ["test_people.py", "test_nine_faults.py"]  # their fixtures are made once
# They begin first, in this order, so that at the end no process of pytest waits for the other's long one. Arguments of
# pytest keep no order where one lies within another.
LONGEST = ["test_mmdet.py", "test_slurm.py", "test_kills.py", "test_people.py", "test_experiments.py"]


# To collect the tests makes containers by the million, and no garbage.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    """Let a process of xdist, whose exit status nobody reads, end at once: to take its modules down takes it 3 s."""
    if hasattr(config, "workerinput"):
        atexit.register(os._exit, 0)


def pytest_collection_finish() -> None:
    """Search for cyclic garbage again, more seldom, and not among what was imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let libraries take down what they hold: some count what is left as leaks, and say so in forty lines."""
    if not hasattr(config, "workerinput"):
        gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def handed_out_with(nodeid: str) -> str:
    """What one process of pytest runs as a whole: a file, a whole run, or those files that share their fixtures."""
    file = Path(nodeid.partition("::")[0])
    if file.name in PEOPLE:
        return "people"
    return nodeid if file.parts[:2] == ("tests", "workflow") else str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For ``--dist loadscope``; xdist's own groups come to nothing with this pytest, which builds ids itself."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = handed_out_with
    return scheduler


@pytest.fixture(scope="session", autouse=True)
def parameters_parsed_once() -> Iterator[None]:
    """Equal text gives equal values: hundreds of tests begin with the same parameter files, params/base.yaml above all.

    Text that is refused is parsed each time.
    """
    parsed = functools.cache(loading.parse_yaml)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "parse_yaml", lambda text, name: copy.deepcopy(parsed(text, name)))
        yield


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("MGRAL_DATA", ROOT.parent / "shared" / "data")) / name
        if not folder.exists():
            pytest.skip(f"{folder} is absent; set MGRAL_DATA to the folder that holds {name}/")
        return folder

    return find


@pytest.fixture(scope="module")
def small_resnets() -> Iterator[None]:
    """Torchvision's detectors stand on a ResNet-18 in all tests of the module."""
    from small_networks import on_resnet18

    with on_resnet18():
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of so many bytes, kept in memory, at a folder; the test is skipped where it may not.

    Called again for the same folder, it gives it another size.
    """
    mounted: list[Path] = []

    def mount(size: int, folder: Path = tmp_path / "disk") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        again = ["-o", "remount"] if folder in mounted else []
        command = ["mount", "-t", "tmpfs", *again, "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no `mount` here")
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        if not again:
            mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
