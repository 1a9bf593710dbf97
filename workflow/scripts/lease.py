#!/usr/bin/env python3
"""Run a command on a GPU that is leased to it: workflow/scripts/lease.py COMMAND [ARGUMENT ...].

A lease is a lock on a file, one to a slot of a GPU. The command takes the place of this process and inherits the lock,
so the lease ends when the command and its children have ended, in whatever way they do. CUDA_VISIBLE_DEVICES tells the
command which GPU is its own. While all slots are taken, it waits.

Shared out are the GPUs that CUDA_VISIBLE_DEVICES lists, or all of the machine where it is not set. Without any GPU the
command runs as it is, at once; so it does where Slurm has given the job a GPU of its own. Several GPUs of one Slurm job
are shared out within that job.

    MGRAL_GPU_SLOTS    commands that may use one GPU at a time; 1 by default
    MGRAL_GPU_LOCKS    folder of the locks; /tmp/mgral-gpus-<user id> by default. Not on a network file system, and the
                       same for all that share a machine's GPUs

It imports nothing of this project: it runs in the environment of the command, whichever that is.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

PAUSE = 0.2  # seconds between two looks at the locks


def gpus() -> list[str]:
    """The GPUs to share out, by the names that CUDA_VISIBLE_DEVICES takes."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(number) for number in range(count_gpus())]
    names = [name.strip() for name in listed.split(",")]
    # as CUDA does, up to the first name that stands for none
    end = next((k for k, name in enumerate(names) if name in {"", "-1", "NoDevFiles"}), len(names))
    return names[:end]


def count_gpus() -> int:
    """How many GPUs the driver shows; none without a driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return 0
    listing = subprocess.run([command, "--list-gpus"], capture_output=True, text=True, check=False)
    # "GPU 0: NVIDIA H200 (UUID: …)"; parts of a divided GPU stand indented below it
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines()) if listing.returncode == 0 else 0


def slots() -> int:
    """Commands that may use one GPU at a time."""
    text = os.environ.get("MGRAL_GPU_SLOTS", "1")
    if not text.isdecimal() or int(text) < 1:
        fail(f"MGRAL_GPU_SLOTS: '{text}' is no number of slots; give a whole number, 1 or more")
    return int(text)


def take(folder: Path, names: list[str], scope: str) -> str:
    """Lock a free slot, for this process and those that it becomes; returns the name of its GPU.

    The first slots of all GPUs come before the second ones, so that commands spread before they share.
    """
    prepare(folder)
    files = [(name, folder / f"{scope}{name}.{slot}") for slot in range(slots()) for name in names]
    told = False
    while True:
        for name, path in files:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            found = os.fstat(lock)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in {os.getuid(), folder.stat().st_uid}:
                fail(f"{path}: is not a lock of this user; remove it, or name another folder in MGRAL_GPU_LOCKS")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            os.set_inheritable(lock, True)
            return name
        if not told:
            print(f"lease: waiting for one of {len(files)} slots on GPU {', '.join(names)}", file=sys.stderr)
            told = True
        time.sleep(PAUSE)


def prepare(folder: Path) -> None:
    """Make the folder of the locks, or refuse one that somebody else prepared.

    In a folder that all may write to, such as /tmp, another user could have put a link there, or a folder of his own.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if "MGRAL_GPU_LOCKS" in os.environ:
        return  # named by hand, maybe shared by several users on purpose
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        fail(f"{folder}: is not a folder of this user alone; remove it, or name another one in MGRAL_GPU_LOCKS")


def check(names: list[str]) -> None:
    """Refuse names that are no GPU's: they become parts of file names."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,99}", name) or ".." in name:
            fail(f"CUDA_VISIBLE_DEVICES: {name[:60]!r} is no GPU; list numbers or UUIDs")


def fail(message: str, status: int = 2) -> NoReturn:
    """End with one line on standard error."""
    print(f"lease: {message}", file=sys.stderr)
    sys.exit(status)


def main(command: list[str]) -> NoReturn:
    """Lease a GPU and become the command."""
    if not command:
        fail("no command; give the command to run on a GPU")
    names = gpus()
    check(names)
    job = os.environ.get("SLURM_JOB_ID")
    if names and not (job and len(names) == 1):
        if job and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", job):
            fail(f"SLURM_JOB_ID: {job[:60]!r} is no job")
        folder = Path(os.environ.get("MGRAL_GPU_LOCKS", f"/tmp/mgral-gpus-{os.getuid()}"))
        try:
            os.environ["CUDA_VISIBLE_DEVICES"] = take(folder, names, f"job-{job}-" if job else "")
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}; name another folder for the locks in MGRAL_GPU_LOCKS")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        fail(f"{command[0]}: {error.strerror}", 127)


if __name__ == "__main__":
    main(sys.argv[1:])
