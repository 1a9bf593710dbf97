"""What a process that this one starts does when this one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def end_with_parent() -> None:
    """Run in a child: on Linux, the kernel ends it when the thread that started it ends, however that went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def serve(parent: int) -> None:
    """Run in a worker process: it ends with its parent, and Ctrl-C, which a terminal sends to both, is the parent's.

    Args:
        parent: its process id; a parent that has ended already is noticed, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)
