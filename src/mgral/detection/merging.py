"""What a detector says of the tiles of an image, put together to what it says of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mgral.core import boxes as geometry
from mgral.core.types import Bools, Detections, Doubles, Floats, Image

NEAR = 2.0  # pixels: a box that ends so close to the inner border of its tile may go on beyond it


def merge(parts: Sequence[Detections], tiles: Sequence[Image], overlap: float, limit: int) -> Detections:
    """The detections of a whole image, from those of its tiles.

    Suppression by class, between tiles alone: within a tile the detector has done it. A box that ends at an inner
    border of its tile may be a piece of an object, so it comes after all boxes that do not, and it goes where a box of
    another tile covers more than ``overlap`` of it. Of two whole boxes the lower score goes, by IoU.

    Args:
        parts: of each tile, in pixels of the tile.
        tiles: with their places in the image.
        overlap: as ``evaluation.nms_iou``, 0..1.
        limit: detections kept, best score first; of equal ones those of the earlier tile.

    Returns:
        Detections in pixels of the image.
    """
    places = [tile.tile or (tile.id, 0, 0) for tile in tiles]
    right = max(x + tile.width for tile, (_, x, _) in zip(tiles, places, strict=True))
    lower = max(y + tile.height for tile, (_, _, y) in zip(tiles, places, strict=True))
    found, pieces, of = [], [], []
    for number, (one, tile, (_, x, y)) in enumerate(zip(parts, tiles, places, strict=True)):
        found.append(one.xyxy + np.array([x, y, x, y], np.float32))
        ends = np.array([x, y, x + tile.width, y + tile.height])
        inner = np.array([x > 0, y > 0, x + tile.width < right, y + tile.height < lower])
        pieces.append(((np.abs(found[-1] - ends) <= NEAR) & inner).any(axis=1))
        of.append(np.full(len(one), number))
    xyxy, piece, tile_of = np.concatenate(found), np.concatenate(pieces), np.concatenate(of)
    scores, labels = (np.concatenate([getattr(one, key) for one in parts]) for key in ("scores", "labels"))
    features = [one.features for one in parts if one.features is not None]
    kept = np.zeros(len(scores), np.bool_)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.lexsort((-scores[rows], piece[rows]))]
        kept[rows] = _suppress(xyxy[rows], piece[rows], tile_of[rows], overlap)
    order = np.flatnonzero(kept)
    order = order[np.argsort(-scores[order], kind="stable")][:limit]
    return Detections(
        xyxy[order],
        scores[order],
        labels[order],
        np.concatenate([one.probs for one in parts])[order],
        np.concatenate(features)[order] if len(features) == len(parts) else None,
    )


def _suppress(xyxy: Floats, piece: Bools, tile: np.ndarray, overlap: float) -> Bools:
    """[n] which boxes of a class stay; they come in the order in which they win."""
    stays = np.ones(len(xyxy), np.bool_)
    areas = geometry.area(xyxy)
    for k in range(len(xyxy)):
        if not stays[k]:
            continue
        later = np.arange(k + 1, len(xyxy))
        later = later[stays[later] & (tile[later] != tile[k])]
        shared = _shared(xyxy[k], xyxy[later])
        whole = areas[k] + areas[later] - shared
        stays[later[shared > overlap * np.where(piece[later], areas[later], whole)]] = False
    return stays


def _shared(box: Floats, others: Floats) -> Doubles:
    """[n] the area that a box shares with each of others [n, 4]."""
    corners = np.concatenate([np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])], axis=1)
    return geometry.area(corners).astype(np.float64)


def mean_vectors(vectors: Floats, counts: Sequence[int]) -> Floats:
    """[n, D] the mean over the tiles of each image; ``vectors`` [sum(counts), D] lie in the images' order.

    An image of one input keeps its vector to the bit.
    """
    if all(count == 1 for count in counts):
        return vectors
    ends = np.cumsum([0, *counts])
    rows = [vectors[a:b].astype(np.float64).mean(axis=0) for a, b in pairwise(ends.tolist())]
    return np.stack(rows).astype(np.float32) if rows else vectors
