"""Feature maps of images that do not fill the detector's input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mgral.core.types import Floats


def mean_within(features: Tensor, extent: Floats | None) -> Tensor:
    """[B, C] mean of maps [B, C, H, W] over the cells that see the image.

    Args:
        features: of a batch.
        extent: [B, 2] the share of the input, 0..1, that each image fills from the left and from above; a cell counts
            from its first pixel on. None: all cells count.
    """
    if extent is None:
        return features.mean((2, 3))
    height, width = features.shape[2:]
    share = torch.from_numpy(extent).to(features.device)[:, :, None]  # [B, 2, 1]
    columns = torch.arange(width, device=features.device) < share[:, 0] * width
    rows = torch.arange(height, device=features.device) < share[:, 1] * height
    seen = (rows[:, :, None] & columns[:, None, :])[:, None].to(features.dtype)  # [B, 1, H, W]
    return (features * seen).sum((2, 3)) / seen.sum((2, 3))


def seen_cells(features: Floats, extent: Floats | None) -> list[Floats]:
    """The cells of each map of a batch [B, C, H, W] that see the image, [C, h, w] each; ``extent`` as above."""
    if extent is None:
        return list(features)
    sides = np.ceil(extent * np.array(features.shape[:1:-1], np.float32)).astype(int).tolist()  # [B, 2] columns, rows
    return [one[:, :rows, :columns] for one, (columns, rows) in zip(features, sides, strict=True)]
