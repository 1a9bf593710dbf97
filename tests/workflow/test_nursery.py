"""The server that forks the tests' commands: to a test its commands are those that a user starts.

That whole runs give the same bytes, test_kills.py shows: its run is forked, and the finished one is not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from checkouts import Checkout

pytestmark = pytest.mark.slow


@pytest.fixture
def forked(project: Checkout) -> Checkout:
    if project.nursery is None:
        pytest.skip("os.pidfd_open is absent: the nursery needs Linux")
    return project


def test_a_command_has_its_arguments_streams_and_status(forked: Checkout):
    assert "tiny_ssd" in forked.call("mgral", "list", "detectors").split()
    assert "did you mean 'detectors'?" in forked.call("mgral", "list", "detecors", fails=True)
    experiment = forked.call("sh", "-c", "echo 'experiment: typed' | mgral check --params params/base.yaml -")
    assert "typed" in experiment


def test_edited_code_is_what_runs(forked: Checkout):
    """The server has imported the code as it was, so the command starts plainly."""
    before = forked.call("mgral", "--help")
    forked.edit("src/mgral/cli/__init__.py", "make the generated data set", "a text that no other version has")
    after = forked.call("mgral", "--help")
    assert after == before.replace("make the generated data set", "a text that no other version has")


@pytest.mark.parametrize("name", ["agent/policy.py", "report/page.html"])
def test_a_copy_that_was_edited_starts_its_commands_plainly(forked: Checkout, name):
    where = ("sh", "-c", "command -v snakemake; command -v mgral")
    assert forked.call(*where).count(str(forked.nursery.commands)) == 2
    path = forked.root / "src/mgral" / name
    path.write_text(path.read_text() + "\n")
    assert str(forked.nursery.commands) not in forked.call(*where)


def test_nothing_is_left_of_a_killed_run(forked: Checkout):
    def in_a_training() -> bool:
        found = commands(forked.root)
        forks = [name for name in found if "nursery.py" in name]  # Snakemake's and the step's
        return len(forks) > 1 and any("mgral train" in name for name in found)

    forked.kill_run(in_a_training)
    assert commands(forked.root) == []


def commands(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve():
                found.append((process / "cmdline").read_bytes().decode().replace("\0", " ").strip())
        except OSError:  # it has ended
            continue
    return found
