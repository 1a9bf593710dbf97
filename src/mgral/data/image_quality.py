"""How sharp and how well exposed an image is, from the pixels that the detector sees; no reference is needed.

- Sharpness: the variance of the Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy")
  of the grey image, in squared grey levels; kept as log(1 + variance). Blur lowers it, texture raises it.
- Clipped: the share of pixels, 0..1, whose grey level is among the :data:`ENDS` lowest or highest of 256.

Padding of the input does not count. All sums are of whole numbers, so that the result depends neither on the order of
the sums nor on what else is in a batch. Of an image that is cut, variance and share are the means over its tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mgral.core.types import Doubles, Floats
from mgral.data.image_cache import Cache, Pixels

ENDS = 5
RED, GREEN, BLUE = 77, 150, 29  # of 256: the grey of ITU-R BT.601, in whole numbers


def of_inputs(cache: Cache, inputs: Sequence[int], pixels: Pixels) -> Doubles:
    """[n, 2] variance of the Laplacian and share of clipped pixels of inputs, whose pixels are [n, S, S, 3] uint8."""
    found = np.empty((len(inputs), 2))
    for row, one, image in zip(found, pixels, inputs, strict=True):
        width, height = cache.resizing.shape(cache.image_of(image))
        row[:] = _of_one(one[:height, :width])
    return found


def joined(parts: Doubles) -> Floats:
    """[2] sharpness and clipped share of an image, from what :func:`of_inputs` says of its inputs [k, 2]."""
    variance, clipped = parts.mean(axis=0)
    return np.array([math.log1p(variance), clipped], np.float32)


def of_images(cache: Cache, ids: Sequence[int]) -> Floats:
    """[n, 2] sharpness and clipped share of images, read one after the other. Raises MgralError as the cache does."""
    found = np.empty((len(ids), 2), np.float32)
    for row, i in zip(found, ids, strict=True):
        inputs = cache.inputs([i])
        row[:] = joined(of_inputs(cache, inputs, cache.pixels(inputs)))
    return found


def scores(measured: Floats) -> Doubles:
    """[n] 0..1 from sharpness and clipped share [n, 2] of the images of a pool.

    It is v / (v + m) · (1 - clipped), with v the variance of the Laplacian and m its median over the pool: half for an
    image as sharp as the median, near 0 for a blurred or clipped one. Where the median is 0, images above it have 1
    for the first factor, and the others half.
    """
    variance = np.expm1(measured[:, 0].astype(np.float64))
    middle = float(np.median(variance)) if len(variance) else 0.0
    total = variance + middle
    share = np.divide(variance, total, out=np.full(len(total), 0.5), where=total > 0)
    found: Doubles = share * (1 - measured[:, 1].astype(np.float64))
    return found


def _of_one(pixels: Pixels) -> tuple[float, float]:
    """Variance of the Laplacian and clipped share of one image [h, w, 3]; the variance is 0 below 3 pixels a side."""
    channels = pixels.astype(np.uint16)
    grey = ((RED * channels[..., 0] + GREEN * channels[..., 1] + BLUE * channels[..., 2]) >> 8).astype(np.int16)
    clipped = int(np.count_nonzero((grey < ENDS) | (grey >= 256 - ENDS))) / max(grey.size, 1)
    centre = grey[1:-1, 1:-1]
    if not centre.size:
        return 0.0, clipped
    edges = (
        (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre).ravel().astype(np.float64)
    )
    count, total = len(edges), float(edges.sum())
    return max(float(edges @ edges) * count - total**2, 0.0) / count**2, clipped
