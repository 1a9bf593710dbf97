"""Work that a thread does ahead of who needs it: reading the next batch while this one is computed with."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")
NAME = "read ahead"  # of the thread


def ahead(items: Iterable[T], depth: int) -> Generator[T]:
    """The items in their order, made by a thread that is up to ``depth`` of them ahead.

    The thread begins with the first item that is asked for, and has ended once this generator has: at its last item, at
    an error, or when it is closed.

    Args:
        items: are made in the thread, one after the other; should wait for files rather than compute.
        depth: items that may be ready and not yet taken, 1 or more.

    Raises:
        BaseException: what making an item raised, in the place of that item.
    """
    ready: deque[tuple[T | None, BaseException | None]] = deque()
    filled, free, stopped = Semaphore(0), Semaphore(depth), Event()

    def work() -> None:
        made = iter(items)
        while True:
            free.acquire()
            if stopped.is_set():
                return
            try:
                ready.append((next(made), None))
            except BaseException as error:  # StopIteration among them: it is the taker's to see
                ready.append((None, error))
                return
            finally:
                filled.release()

    thread = Thread(target=work, name=NAME, daemon=True)
    thread.start()
    try:
        while True:
            filled.acquire()
            item, error = ready.popleft()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            free.release()
            yield item  # type: ignore[misc]  # None is an item only where T has it
    finally:
        stopped.set()
        free.release()
        thread.join()
