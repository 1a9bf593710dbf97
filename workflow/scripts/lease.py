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
import shutil
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
    folder.mkdir(parents=True, exist_ok=True)
    files = [(name, folder / f"{scope}{name}.{slot}") for slot in range(slots()) for name in names]
    told = False
    while True:
        for name, path in files:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
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


def fail(message: str, status: int = 2) -> NoReturn:
    """End with one line on standard error."""
    print(f"lease: {message}", file=sys.stderr)
    sys.exit(status)


def main(command: list[str]) -> NoReturn:
    """Lease a GPU and become the command."""
    if not command:
        fail("no command; give the command to run on a GPU")
    names = gpus()
    job = os.environ.get("SLURM_JOB_ID")
    if names and not (job and len(names) == 1):
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
