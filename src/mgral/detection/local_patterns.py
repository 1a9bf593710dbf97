"""Local patterns of an image in a feature map (FreeSel; Xie et al., NeurIPS 2023, section 3.2).

Of the map's cells those are kept that hold half of its activation, and k-means puts these into K clusters; their
centres are the image's patterns.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from mgral.core.types import Doubles, Floats

SHARE = 0.5  # of the activation that the cells kept must hold; the paper's ratio for attention


def patterns(features: Floats, count: int, seed: int) -> Doubles:
    """[count, C] the patterns of one image.

    Args:
        features: [C, H, W] with at least ``count`` cells. Each counts by the length of its vector [R]; the paper
            weighs the cells of a transformer by attention, and its code puts a threshold to the length for others.
        count: patterns wanted.
        seed: of k-means' start.
    """
    cells = features.reshape(len(features), -1).T.astype(np.float64)  # [H W, C]
    lengths = np.linalg.norm(cells, axis=1)
    order = np.argsort(-lengths, kind="stable")
    kept = int(np.searchsorted(np.cumsum(lengths[order]), SHARE * lengths.sum())) + 1
    strongest = cells[np.sort(order[: max(kept, count)])]
    if len(strongest) == count:
        return strongest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct cells than clusters: centres repeat
        found: Doubles = KMeans(count, n_init=1, random_state=seed % 2**32).fit(strongest).cluster_centers_
    return found
