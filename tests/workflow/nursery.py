"""A server that forks commands of mgral, Snakemake and DVC, so that a test does not wait for their imports.

It has imported all of mgral, Snakemake, DVC and torch. ``commands(folder)`` holds an ``mgral``, a ``snakemake`` and a
``dvc`` for PATH, which send their arguments, folder, environment and streams to the server; a fork of it becomes the
command. A command ends as if it had been started plainly: when the one that started it is killed, so are the fork and
all that it started.

The product starts plain processes. This is for tests, and only where a checkout's code is the code that the server has
imported: see :meth:`Nursery.has_loaded`.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

CLIENT = Path(__file__).with_name("nursery_client.py")
NAMES = ("mgral", "snakemake", "dvc")
DVC = ("cli.parser", "data_cloud", *(f"repo.{name}" for name in ("index", "metrics", "params", "plots", "stage")))
SNAKEMAKE = ("cli", "api", "dag", "workflow", "executors.local", "executors.dryrun", "scheduling.job_scheduler")


class Nursery:
    """A running server.

    Args:
        folder: its socket, the commands and the lock; the path must be short enough for a socket.
        source: the folder that holds the package to import.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.commands = folder / "bin"
        self._loaded = _files(source)
        self._lock = folder / "lock"
        self._lock.touch()
        self.commands.mkdir()
        for name in NAMES:
            command = self.commands / name
            command.write_text(
                f"#!{sys.executable} -IS\n{CLIENT.read_text()}".replace("SOCKET", str(folder / "socket"))
            )
            command.chmod(0o755)
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        server = [sys.executable, __file__, str(folder)]
        self._server = subprocess.Popen(server, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        ready = self._server.stdout.readline()
        assert ready == b"ready\n", "the nursery has not started"

    def has_loaded(self, source: Path) -> bool:
        """Whether the code in a folder is what the server has imported."""
        return _files(source) == self._loaded

    def wait(self) -> None:
        """Wait until no command is at work: a moment after the one that started them was killed."""
        with self._lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def stop(self) -> None:
        """End the server and all its commands."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


def _files(source: Path) -> dict[str, bytes]:
    """What the package consists of, its data included."""
    paths = (path for path in (source / "mgral").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(source)): path.read_bytes() for path in paths}


class _Server:
    """Forks a process for each request, waits for all of them or kills them, and tells their clients the status.

    One loop does it all: a fork of its own to watch over each command would double what a command takes.

    Args:
        folder: of the socket and the lock, which each command holds while it is at work.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "lock"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / "socket"))
        self._listening.listen(1000)
        self._running: dict[int, tuple[int, socket.socket, IO[str]]] = {}  # process, client and lock by pidfd

    def serve(self) -> None:
        """Serve until the tests close the standard input; then kill what is at work."""
        while True:
            clients = {client: ended for ended, (_, client, _) in self._running.items()}
            ready = select.select([sys.stdin, self._listening, *self._running, *clients], [], [])[0]
            for ended in {clients.get(one, one) for one in ready} & self._running.keys():
                self._end(ended)
            if sys.stdin in ready:
                break
            if self._listening in ready:
                client = self._listening.accept()[0]
                try:
                    self._begin(client)
                except (OSError, struct.error):  # it was killed before it had asked
                    client.close()
        for ended in [*self._running]:
            self._end(ended)

    def _begin(self, client: socket.socket) -> None:
        length, streams, _, _ = socket.recv_fds(client, 4, 3)
        request = json.loads(client.recv(struct.unpack("<I", length)[0], socket.MSG_WAITALL))
        lock = self._lock.open()
        fcntl.flock(lock, fcntl.LOCK_SH)
        command = os.fork()
        if command == 0:
            os.setpgid(0, 0)
            for _, other, held in [*self._running.values(), (0, client, lock)]:
                other.close()
                held.close()
            self._listening.close()
            _become(request, streams)
        with contextlib.suppress(PermissionError):  # it has done so itself
            os.setpgid(command, command)
        for stream in streams:
            os.close(stream)
        self._running[os.pidfd_open(command)] = command, client, lock

    def _end(self, ended: int) -> None:
        """Tell the status of a command that has ended; kill one whose client was killed."""
        command, client, lock = self._running.pop(ended)
        if not select.select([ended], [], [], 0)[0]:
            os.killpg(command, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            client.sendall(struct.pack("<i", status if status >= 0 else 128 - status))
        os.close(ended)
        client.close()
        lock.close()


def _become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Run a command in this process as if it had been started, and end the process."""
    import dvc.cli
    import snakemake.cli
    import torch

    from mgral import cli

    status = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        sys.argv = request["command"]
        run = {"mgral": cli.main, "snakemake": snakemake.cli.main, "dvc": dvc.cli.main}[Path(sys.argv[0]).name]
        status = run(sys.argv[1:])
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def _serve(folder: Path) -> None:
    import mgral

    for module in pkgutil.walk_packages(mgral.__path__, "mgral."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in SNAKEMAKE:
        importlib.import_module(f"snakemake.{name}")
    for name in DVC:
        importlib.import_module(f"dvc.{name}")
    gc.collect()
    gc.freeze()  # a fork's collector leaves these pages shared
    server = _Server(folder)
    print("ready", flush=True)
    server.serve()
    os._exit(0)  # libraries that were imported and not used complain at a plain end


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
