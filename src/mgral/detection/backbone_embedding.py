"""Image embeddings by a backbone that is no part of the detector, or from a file that a command wrote."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mgral.core import random_streams
from mgral.core.errors import MgralError, nearest
from mgral.core.types import Floats
from mgral.data.image_cache import Cache

WIDTH = 256  # of an embedding, as for the detectors of this package
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def from_file(path: Path, ids: Sequence[int]) -> Floats:
    """[len(ids), 256] embeddings that a command wrote.

    Args:
        path: npz with ``ids`` [N] whole numbers and ``vectors`` [N, D]; images that were not asked for are ignored.
        ids: the images wanted.

    Raises:
        MgralError: no such archive, an image without a vector, or a vector that is not finite.
    """
    where = "detector.options.predict: {vectors}"
    try:
        with np.load(path, allow_pickle=False) as data:
            found, vectors = data["ids"], np.asarray(data["vectors"], np.float32)
    except (KeyError, ValueError, OSError, TypeError, EOFError, zipfile.BadZipFile):
        raise MgralError(f"{where}: not an npz archive of ids and vectors; see --help") from None
    if found.ndim != 1 or found.dtype.kind not in "iu" or vectors.ndim != 2 or len(vectors) != len(found):
        raise MgralError(f"{where}: ids must be [N] whole numbers and vectors [N, D]")
    row = {int(image): k for k, image in enumerate(found)}
    missing = [i for i in ids if i not in row]
    if missing:
        raise MgralError(f"{where}: image {missing[0]} has no vector; write one for every image of {{list}}")
    chosen = vectors[[row[i] for i in ids]]
    if not np.isfinite(chosen).all():
        raise MgralError(f"{where}: image {ids[int((~np.isfinite(chosen)).any(axis=1).argmax())]} is not finite")
    return project(chosen)


def compute(backbone: str, weights: str | None, cache: Cache, ids: Sequence[int]) -> Floats:
    """[len(ids), 256] embeddings by a timm backbone: global average of every feature map, then :func:`project`.

    Args:
        backbone: name of a timm model that gives feature maps.
        weights: its local weights file. None: initial weights from a fixed seed. Random convolutions keep some of
            what tells images apart, and much less than trained ones.
        cache: images, read at its size.
        ids: the images.

    Raises:
        MgralError: unknown model, or weights that do not fit.
    """
    import timm
    import torch

    from mgral.detection.base import load_fitting, read_weights
    from mgral.detection.device import in_batches

    if not timm.is_model(backbone):
        raise MgralError(
            f"detector.options.embedding.backbone: timm has no model '{backbone}'; "
            f"{nearest(backbone, timm.list_models(backbone[:4] + '*') or ['resnet18'])}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_streams.stream("embedding backbone"))
        model: Any = timm.create_model(backbone, features_only=True, pretrained=False)
    if weights is not None:
        load_fitting(model, read_weights(weights), weights, f"timm's {backbone}")
    model.eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    parts = [np.zeros((0, sum(model.feature_info.channels())), np.float32)]
    with torch.inference_mode():
        for chosen in in_batches(ids):
            images = torch.from_numpy(cache.pixels(chosen)).permute(0, 3, 1, 2).float() / 255
            maps = model((images - mean) / std)
            parts.append(torch.cat([one.mean((2, 3)) for one in maps], 1).numpy())
    return project(np.concatenate(parts))


def project(vectors: Floats) -> Floats:
    """[N, D] to [N, 256] by a fixed Gaussian projection, which keeps distances (Johnson and Lindenstrauss 1984)."""
    if vectors.shape[1] == WIDTH:
        return vectors
    matrix = random_streams.generator("embedding projection", vectors.shape[1]).standard_normal(
        (vectors.shape[1], WIDTH)
    )
    projected: Floats = (vectors.astype(np.float64) @ matrix / WIDTH**0.5).astype(np.float32)
    return projected
