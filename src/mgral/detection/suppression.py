"""Non-maximum suppression per class, by torchvision's kernel and without torchvision's Python modules.

These take a second to import, most of it for torch's compiler; the kernel lies in a library of its own.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LARGE, LARGE_ON_GPU = 1000, 25_000  # boxes; of more, class after class is the faster (torchvision's issue 1311)


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Which boxes are kept, best score first: of two of one label that overlap more, the lower score goes.

    Args:
        boxes: [n, 4] xyxy.
        scores: [n].
        labels: [n] int64.
        iou: 0..1.
    """
    if not len(boxes):
        return labels.new_zeros(0)
    if len(boxes) > (LARGE if boxes.device.type == "cpu" else LARGE_ON_GPU):
        kept = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        for label in labels.unique():
            own = (labels == label).nonzero().squeeze(1)
            kept[own[_nms()(boxes[own], scores[own], iou)]] = True
        found = kept.nonzero().squeeze(1)
        return found[scores[found].sort(descending=True).indices]
    apart = labels.to(boxes) * (boxes.max() + 1)  # boxes of different labels do not meet
    survivors: Tensor = _nms()(boxes + apart[:, None], scores, iou)
    return survivors


@cache
def _nms() -> Any:
    """The operator ``torchvision::nms``."""
    spec = importlib.util.find_spec("torchvision")
    folders = (spec and spec.submodule_search_locations) or []
    for library in sorted(file for folder in folders for file in Path(folder).glob("_C*.so")):
        torch.ops.load_library(str(library))
    if not hasattr(torch.ops.torchvision, "nms"):
        import torchvision  # noqa: F401  # its library has another name on this system
    return torch.ops.torchvision.nms
