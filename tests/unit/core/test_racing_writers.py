"""Processes that write one output at the same time, and some that are killed: what is there is always of one writer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SIZE = 2_000_000
WRITER = """
import sys
from pathlib import Path
from mgral.core.files import whole

out, mark, times = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
for number in range(times):
    with whole(out) as temporary, temporary.open("wb") as file:
        for _ in range(20):
            file.write(mark * (int(sys.argv[4]) // 20))
            file.flush()
print("done", flush=True)
"""
STUCK = """
import sys, time
from pathlib import Path
from mgral.core.files import whole

with whole(Path(sys.argv[1])) as temporary, temporary.open("wb") as file:
    file.write(b"x" * 1_000_000)
    file.flush()
    print("half", flush=True)
    time.sleep(600)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check(out: Path) -> bool:
    """Whether the output is there; it must then be whole, and of one writer."""
    try:
        content = out.read_bytes()
    except FileNotFoundError:
        return False
    assert len(content) == SIZE and content == content[:1] * SIZE
    return True


def test_racing_writers_publish_no_mixture(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    writers = [start(WRITER, out, mark, 30, SIZE) for mark in "abcd"]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        seen += check(out)
    for writer in writers:
        said, faults = writer.communicate()
        assert (writer.returncode, said) == (0, "done\n"), faults
    assert check(out) and seen > 10
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_many_short_writers_do_not_remove_each_others_files(tmp_path: Path) -> None:
    """A file is young for a moment: there, and not yet locked."""
    out = tmp_path / "out.bin"
    writers = [start(WRITER, out, mark, 600, 20) for mark in "abcd"]
    for writer in writers:
        said, faults = writer.communicate(timeout=120)
        assert (writer.returncode, said) == (0, "done\n"), faults
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_a_killed_writer_leaves_the_earlier_output_and_no_rest_after_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    out.write_bytes(b"a" * SIZE)
    killed, waits = start(STUCK, out), start(STUCK, out)
    for writer in (killed, waits):
        assert writer.stdout is not None and writer.stdout.readline() == "half\n"
    assert len(list(tmp_path.glob(".out.*"))) == 2
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert check(out)
    third = start(WRITER, out, "c", 1, SIZE)
    assert third.communicate()[0] == "done\n"
    assert out.read_bytes() == b"c" * SIZE
    assert len(list(tmp_path.glob(".out.*"))) == 1  # of the one that still writes
    waits.kill()
    waits.communicate()


def test_writers_that_are_killed_at_any_moment_leave_a_whole_output(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    for number in range(12):
        writer = start(WRITER, out, "abc"[number % 3], 1000, SIZE)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*")):
            assert writer.poll() is None and time.monotonic() < deadline
        time.sleep(0.003 * number)
        writer.kill()
        writer.communicate()
        check(out)
    last = start(WRITER, out, "z", 1, SIZE)
    assert last.communicate()[0] == "done\n"
    assert check(out) and [path.name for path in tmp_path.iterdir()] == ["out.bin"]
