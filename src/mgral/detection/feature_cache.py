"""What a frozen backbone says of images, computed once and read by every proxy that trains a head over it.

A backbone that does not learn answers the same to the same image. Its maps for an image and for the mirrored image are
kept as one array on disk, memory-mapped, so that the proxies of a cycle share them whatever process they run in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mgral.core.errors import MgralError
from mgral.core.files import require_regular, whole
from mgral.core.types import Halfs
from mgral.data.image_cache import Cache
from mgral.detection.base import Detector
from mgral.detection.device import Device, in_batches


class BackboneFeatures:
    """Maps of some images, and of their mirror images.

    The values are kept as float16, whose rounding (a relative 5e-4) is finer than that of bfloat16.
    """

    def __init__(self, detector: Detector, ids: Sequence[int], array: Halfs) -> None:
        """Wrap an array that :func:`make` or :func:`read` made.

        Args:
            detector: tells the shapes of the maps.
            ids: of the images, ascending.
            array: [n, 2, F] for each image plain and mirrored, its maps end to end, each [H_l, W_l, C_l] flattened.
        """
        self._array = array
        self._row = {image_id: row for row, image_id in enumerate(ids)}
        self._shapes = detector.shapes

    def maps(self, ids: Sequence[int], mirrored: Sequence[bool], device: Device) -> list[Tensor]:
        """The maps of a batch, finest first, each [B, C_l, H_l, W_l] float32 in channels-last order.

        Args:
            ids: one per image of the batch.
            mirrored: whether the image is taken flipped left to right.
            device: the device.
        """
        rows = [self._row[i] for i in ids]
        flat = torch.from_numpy(self._array[rows, np.asarray(mirrored, dtype=np.int64)])
        sizes = [c * h * w for c, h, w in self._shapes]
        return [
            part.to(device.torch_device).float().view(-1, h, w, c).permute(0, 3, 1, 2)
            for part, (c, h, w) in zip(flat.split(sizes, 1), self._shapes, strict=True)
        ]


def make(detector: Detector, cache: Cache, ids: Sequence[int], machine: Device) -> BackboneFeatures:
    """The maps of some images, in memory."""
    ids = sorted(cache.inputs(ids))
    return BackboneFeatures(detector, ids, np.concatenate([*_blocks(detector, cache, ids, machine)]))


def write(detector: Detector, cache: Cache, ids: Sequence[int], machine: Device, path: str | Path) -> None:
    """Write the maps of some images as ``.npy``, float16 [n, 2, F], rows in ascending order of id.

    Raises:
        MgralError: the disk is full. They are written in order: a memory map would end the process there.
    """
    ids = sorted(cache.inputs(ids))
    with whole(path) as temporary, temporary.open("wb") as file:
        shape = (len(ids), 2, _length(detector))
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for block in _blocks(detector, cache, ids, machine):
            file.write(block.data)


def read(detector: Detector, ids: Sequence[int], path: str | Path) -> BackboneFeatures:
    """Open what :func:`write` wrote of the same images, as a memory map.

    Raises:
        MgralError: missing, damaged, or of another number of images or another detector.
    """
    remedy = "run `mgral backbone-features` again"
    try:
        require_regular(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral backbone-features`") from None
    except (ValueError, OSError, EOFError):
        raise MgralError(f"{path}: not a NumPy array; {remedy}") from None
    shape = (len(set(ids)), 2, _length(detector))
    if not isinstance(array, np.ndarray):
        raise MgralError(f"{path}: not a NumPy array; {remedy}")
    if array.shape != shape or array.dtype != np.float16:
        raise MgralError(f"{path}: {array.dtype} {list(array.shape)}, not float16 {list(shape)}; {remedy}")
    return BackboneFeatures(detector, sorted(set(ids)), array)


def _length(detector: Detector) -> int:
    return sum(c * h * w for c, h, w in detector.shapes)


@torch.inference_mode()
def _blocks(detector: Detector, cache: Cache, ids: Sequence[int], machine: Device) -> Iterator[Halfs]:
    """Rows of the array, [b, 2, F] for the images of a forward pass, in the order of ``ids``."""
    detector.to(machine.torch_device).eval()
    for chosen in in_batches(ids, cache.size):
        images = machine.images(cache.pixels(chosen))
        views = []
        for pixels in (images, images.flip(3)):
            with machine.autocast():
                maps = detector.maps(pixels.contiguous(memory_format=torch.channels_last))
            views.append(torch.cat([m.permute(0, 2, 3, 1).flatten(1) for m in maps], 1).half())
        yield torch.stack(views, 1).cpu().numpy()
