"""A process that outlives this one by a moment, to end what a command has started: also where this one is killed.

    python -IS command_watch.py ENTRY < PIPE

It reads a pipe whose other end this process holds, so it notices when that is gone, however it went. Unless it was told
before that all is well, it ends every process with an entry (NAME=VALUE) in its environment. It imports nothing of
mgral: to start it takes some 15 ms.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

WELL = b"well"  # what is written to the pipe before it is closed, if there is nothing to end


def end_marked(entry: bytes) -> None:
    """End all processes with an entry in their environment, until none is left or ten seconds are over."""
    over = time.monotonic() + 10
    while (found := list(_marked(entry))) and time.monotonic() < over:
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(entry: bytes) -> Iterator[int]:
    """Processes with an entry in their environment. One that has ended has none; nor has any without /proc."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # another user's, or gone
            if entry in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the one that is watched
    if sys.stdin.buffer.read() != WELL:
        end_marked(os.fsencode(sys.argv[1]))
