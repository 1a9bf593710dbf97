"""Image embeddings by a backbone that is no part of the detector, or from a file that a command wrote."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mgral.config.embedding import Backbone
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import require_regular
from mgral.core.types import Floats, Halfs
from mgral.data.image_cache import Cache
from mgral.detection.merging import mean_vectors

if TYPE_CHECKING:
    from mgral.detection.device import Device

WIDTH = 256  # of an embedding, as for the detectors of this package


def from_file(path: Path, ids: Sequence[int]) -> Floats:
    """[len(ids), 256] embeddings that a command wrote.

    Args:
        path: npz with ``ids`` [N] whole numbers and ``vectors`` [N, D]; images that were not asked for are ignored.
        ids: the images wanted.

    Raises:
        MgralError: no such archive, an image without a vector or with two, or a vector that is not finite.
    """
    where = "detector.options.predict: {vectors}"
    try:
        require_regular(path)
        with np.load(path, allow_pickle=False) as data:
            found, given = data["ids"], data["vectors"]
            if given.dtype.kind not in "fiub":
                raise TypeError
            vectors = np.asarray(given, np.float32)
    except (KeyError, ValueError, OSError, TypeError, EOFError, zipfile.BadZipFile):
        raise MgralError(
            f"{where}: not an npz archive of ids and vectors, both of numbers; write one with numpy.savez"
        ) from None
    if found.ndim != 1 or found.dtype.kind not in "iu" or vectors.ndim != 2 or len(vectors) != len(found):
        raise MgralError(
            f"{where}: ids {list(found.shape)} and vectors {list(vectors.shape)} do not go together; write ids [N], "
            "whole numbers, and vectors [N, D]"
        )
    if not vectors.shape[1]:
        raise MgralError(f"{where}: vectors of no number; write at least one a vector")
    row = {int(image): k for k, image in enumerate(found)}
    if len(row) < len(found):
        image = Counter(found.tolist()).most_common(1)[0][0]
        raise MgralError(f"{where}: image {image} has more than one vector; write one for every image of {{list}}")
    missing = [i for i in ids if i not in row]
    if missing:
        raise MgralError(f"{where}: image {missing[0]} has no vector; write one for every image of {{list}}")
    chosen = vectors[[row[i] for i in ids]]
    if not np.isfinite(chosen).all():
        image = ids[int((~np.isfinite(chosen)).any(axis=1).argmax())]
        raise MgralError(f"{where}: image {image} is not finite; write finite numbers")
    return project(chosen)


def compute(
    params: Backbone, where: str, cache: Cache, ids: Sequence[int], device: Device, count: int = 0
) -> tuple[Floats, Halfs]:
    """Embeddings [n, 256] of images by a backbone, and their local patterns [n, count, 256].

    An embedding is the global average of every feature map; of an image that is cut, the mean of its tiles'. Local
    patterns are of images that are not cut. A pattern comes from the coarsest map
    (:mod:`mgral.detection.local_patterns`); both go through :func:`project`.

    Args:
        params: the backbone.
        where: key of these parameters, for messages.
        cache: images, read at its size.
        ids: the images.
        device: where to compute.
        count: patterns of an image; 0: none are computed.

    Raises:
        MgralError: as of :func:`mgral.detection.backbones.build`, or the coarsest map has fewer cells than patterns.
    """
    import torch

    from mgral.detection import backbones
    from mgral.detection.inference import outputs
    from mgral.detection.local_patterns import patterns
    from mgral.detection.padding import mean_within, seen_cells

    network = backbones.build(params, cache.size, where)
    vectors, local = [], []
    for chosen, _, maps in outputs(network, cache, cache.inputs(ids), device):
        extent = cache.extent(chosen)
        vectors.append(torch.cat([mean_within(one.float(), extent) for one in maps], 1).cpu().numpy())
        if count:
            coarsest = seen_cells(maps[-1].float().cpu().numpy(), extent)
            fewest = min(one[0].size for one in coarsest)
            if fewest < count:
                raise MgralError(
                    f"{where}.patterns: {count}, but the coarsest map of {params.backbone} has {fewest} "
                    f"cells at {cache.size} pixels; raise image_size, or name finer maps in {where}.options"
                )
            seeds = [random_streams.stream("local patterns", i) for i in chosen]
            local += [patterns(one, count, seed) for one, seed in zip(coarsest, seeds, strict=True)]
    width = local[0].shape[1] if local else WIDTH
    flat = project(np.array(local, np.float32).reshape(-1, width))
    embedded = np.zeros((0, WIDTH), np.float32)
    if vectors:
        embedded = project(mean_vectors(np.concatenate(vectors), [len(cache.inputs([i])) for i in ids]))
    return embedded, flat.reshape(len(ids), count, WIDTH).astype(np.float16)


def project(vectors: Floats) -> Floats:
    """[N, D] to [N, 256] by a fixed Gaussian projection, which keeps distances (Johnson and Lindenstrauss 1984)."""
    if vectors.shape[1] == WIDTH:
        return vectors
    matrix = random_streams.generator("embedding projection", vectors.shape[1]).standard_normal(
        (vectors.shape[1], WIDTH)
    )
    projected: Floats = (vectors.astype(np.float64) @ matrix / WIDTH**0.5).astype(np.float32)
    return projected
