"""Images decoded to their last byte by several processes, in the order asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from mgral.core import child_processes
from mgral.core.errors import MgralError
from mgral.data import image_files
from mgral.data.image_files import Facts

FEWEST = 1000  # images; for fewer, starting processes takes as long
MOST = 8  # processes; this one judges what they find
_TASK = 64  # images a process is given at a time
_AHEAD = 16  # tasks a process


def processes() -> int:
    """How many may decode: as many as this process has processors, or OMP_NUM_THREADS where that is less."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = os.environ.get("OMP_NUM_THREADS", "")  # which Snakemake sets to the threads of a job
    return max(1, min(own, MOST, int(text) if text.isdecimal() else MOST))


def examined(paths: Sequence[str], max_pixels: int) -> Generator[Facts | ValueError]:
    """What :func:`mgral.data.image_files.examine` finds of each image, or why it refuses it.

    Raises:
        MgralError: a process ended while it decoded.
    """
    count = processes()
    if count < 2 or len(paths) < FEWEST:
        yield from (_one(path, max_pixels) for path in paths)
        return
    pool = ProcessPoolExecutor(count, get_context("fork"), child_processes.serve, (os.getpid(),))
    try:
        waiting: deque[Future[list[Facts | ValueError]]] = deque()
        for start in range(0, len(paths), _TASK):
            waiting.append(pool.submit(_some, paths[start : start + _TASK], max_pixels))
            if len(waiting) > _AHEAD * count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise MgralError(
            "a process that decodes images was ended, out of memory or by a damaged image; run this again with "
            "OMP_NUM_THREADS=1, which decodes one after the other"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _some(paths: Sequence[str], max_pixels: int) -> list[Facts | ValueError]:
    return [_one(path, max_pixels) for path in paths]


def _one(path: str, max_pixels: int) -> Facts | ValueError:
    try:
        return image_files.examine(path, max_pixels)
    except ValueError as error:
        return error
