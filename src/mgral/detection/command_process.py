"""Commands of a user: started, ended in time, and never left behind."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mgral.core import child_processes
from mgral.core.errors import MgralError
from mgral.detection import command_watch

log = logging.getLogger(__name__)


def run_command(
    words: Sequence[str], name: str, environment: str | None, folder: str | None, time_limit: float
) -> None:
    """Run a command to its end; what it prints goes to standard error, which is the job's log.

    Its process group ends with it. At the time limit, and when this process ends by a signal, all end that it started,
    those with a session of their own too where there is /proc (Linux): a mark in their environment tells.

    Raises:
        MgralError: no such program, an exit status other than 0, or the time is over.
    """
    mark = f"MGRAL_COMMAND_{os.getpid()}_{time.monotonic_ns()}"  # a name of its own, since a command may run mgral
    surroundings = {**os.environ, "PYTHONHASHSEED": "0", "MGRAL": "1", mark: "1"}
    if environment is not None:
        programs = (Path(environment) / "bin").resolve()
        surroundings |= {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
            "VIRTUAL_ENV": str(programs.parent),
        }
        surroundings.pop("PYTHONPATH", None)
    program = shutil.which(words[0], path=surroundings.get("PATH")) if os.sep not in words[0] else words[0]
    if program is None:
        raise MgralError(f"{name}: no program '{words[0]}' on PATH; install it or set detector.options.environment")
    log.info("%s: %s", name, shlex.join(words))
    with _all_end(mark) as started:
        try:
            process = subprocess.Popen(
                [program, *words[1:]],
                env=surroundings,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor() else None,
                start_new_session=True,
                preexec_fn=child_processes.end_with_parent,
            )
        except OSError as error:
            raise MgralError(
                f"{name}: {words[0]}: cannot be started ({error.strerror}); correct the command line"
            ) from None
        started.append(process)
        try:
            status = process.wait(time_limit)
        except subprocess.TimeoutExpired:
            raise MgralError(
                f"{name}: still running after {time_limit:g} s and ended; make it quicker or raise "
                "detector.options.time_limit"
            ) from None
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise MgralError(f"{name}: the command failed ({how}); its own messages are above, in the job's log")


def _has_descriptor() -> bool:
    try:
        sys.stderr.fileno()
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def _all_end(mark: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """End the group of a process on the way out, however this is left; SIGTERM, SIGHUP and Ctrl-C among them.

    If it has not ended by itself, all that it started end, by the mark in their environment. A signal may come when it
    has begun and is not yet in the list: the mark finds it, too. If this process is killed, a watcher does the same.

    Yields:
        The list to put the process into once it is started.
    """

    def leave(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    ending = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN
    ]  # nohup
    before = {number: signal.signal(number, leave) for number in ending} if _main_thread() else {}
    started: list[subprocess.Popen[bytes]] = []
    watcher = _watcher(f"{mark}=1")
    try:
        yield started
    finally:
        ended = [process.poll() is not None for process in started] == [True]
        for process in started:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what the command left running in its group, too
            process.wait()
        if not ended:
            command_watch.end_marked(f"{mark}=1".encode())
        if watcher is not None:
            watcher.communicate(command_watch.WELL)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watcher(entry: str) -> subprocess.Popen[bytes] | None:
    """A process that does the same if this one is killed, where there is /proc; it waits at its pipe."""
    if not Path("/proc/self/environ").exists():
        return None
    words = [sys.executable, "-IS", command_watch.__file__, entry]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
