"""Where and in which precision the arithmetic happens."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from mgral.config.schema import Machine
from mgral.core.errors import MgralError

BATCH = 32  # images a forward pass, up to FULL pixels a side
FULL = 320

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
MOST_KEPT, MOST_ON_HEAP = 2**30, 2**25  # bytes; the second is the largest that glibc takes


@dataclass(frozen=True)
class Device:
    """A device and a precision.

    Attributes:
        torch_device: ``cpu`` or ``cuda``.
        bf16: whether convolutions and matrix products run in bfloat16 (autocast; losses stay float32).
    """

    torch_device: torch.device
    bf16: bool

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which a network runs."""
        return torch.autocast(self.torch_device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def empty(self, count: int, side: int) -> npt.NDArray[np.uint8]:
        """Memory [count, side, side, 3] for pixels; of a GPU's batch pinned, so that it is copied there at once."""
        pinned = self.torch_device.type == "cuda"
        found: npt.NDArray[np.uint8] = torch.empty(count, side, side, 3, dtype=torch.uint8, pin_memory=pinned).numpy()
        return found

    def images(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """[B, S, S, 3] of the image cache to float [B, 3, S, S] in 0..1, channels last, on the device."""
        return torch.from_numpy(pixels).to(self.torch_device).permute(0, 3, 1, 2).float().div_(255)


def batches(ids: Sequence[int], side: int) -> list[Sequence[int]]:
    """The ids in their order, those of one forward pass together.

    Args:
        ids: of images.
        side: of an image, pixels. Of larger images fewer go through the network at a time, so that memory is bounded:
            with 32 images of 640 pixels RetinaNet took 4 GiB.
    """
    size = max(min(BATCH, BATCH * FULL**2 // side**2), 1)
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def in_batches(ids: Sequence[int], side: int) -> Iterator[Sequence[int]]:
    """What :func:`batches` gives, with a progress bar."""
    yield from tqdm(batches(ids, side), "inference", disable=None, leave=False)


def prepare_device(machine: Machine) -> Device:
    """Set torch's thread count and choose device and precision.

    Raises:
        MgralError: a GPU is asked for and there is none.
    """
    torch.set_num_threads(machine.threads)
    keep_freed_memory()
    device = machine.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise MgralError("machine.device: cuda, but torch sees no GPU; set it to auto or cpu")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    bf16 = machine.precision == "bf16" or (machine.precision == "auto" and _gains_from_bf16(device))
    return Device(torch.device(device), bf16)


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next tensors, where it is glibc.

    By itself it hands blocks of megabytes back to the system, and a step that allocates the same tensors again waits
    for each of their pages: a tenth of a training step of the demo.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, MOST_ON_HEAP)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


def _gains_from_bf16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 itself; emulation would be slower than float32."""
    if device == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "amx_bf16" in flags or "avx512_bf16" in flags
