"""How many images go through a network at a time, and what becomes of memory that they no longer need."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from mgral.detection.device import in_batches


@pytest.mark.parametrize(("side", "size"), [(64, 32), (320, 32), (321, 31), (640, 8), (1280, 2), (5000, 1)])
def test_fewer_large_images_go_through_at_a_time(side: int, size: int) -> None:
    ids = list(range(70))
    batches = list(in_batches(ids, side))
    assert [i for batch in batches for i in batch] == ids
    assert {len(batch) for batch in batches[:-1]} == {size} and len(batches[-1]) <= size


FAULTS = """
import ctypes, resource, torch
from mgral.detection.device import M_MMAP_THRESHOLD, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert len([torch.ones(5 * 2**18) for _ in range(40)]) == 40
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**17)
print(min(faults() for _ in range(3)))
keep_freed_memory()
print(min(faults() for _ in range(8)))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_there_for_the_next_step() -> None:
    """Forty tensors of 5 MiB have 51,200 pages, which glibc by its initial threshold maps again each time.

    In a process of its own: what other tests have left in the heap decides too, and so does the thread.
    """
    found = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    before, after = map(int, found.split())
    if before < 10_000:
        pytest.skip("the kernel gives pages by the hundred (transparent_hugepage)")
    assert after < before / 10
