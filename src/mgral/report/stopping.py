"""When to stop: the learning curve continued as a power law, with an interval.

Detectors are trained on random parts of the labelled pool. Their mAP against the number of images n is fitted by
a − b·n^(−c), the form of learning curves in vision (Hestness et al. 2017; Mahmood et al. 2022). Which exponent, few
points cannot tell, so all are kept, each by how well it fits, and the interval covers what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.core.types import Doubles
from mgral.report.text import signed

EXPONENTS = np.linspace(0.05, 2.0, 40)
DRAWS = 20_000
LEVEL = 0.9  # of the interval
FEWEST = 3  # sizes of the pool


def extrapolate(points: Sequence[tuple[int, float]], more: Sequence[int], deviation: float | None) -> dict[str, Any]:
    """What further images are expected to bring.

    Args:
        points: images and mAP (0..1) of each training; at least three sizes.
        more: numbers of further images, beyond the largest pool.
        deviation: of mAP between trainings of one pool, if it was measured; else it is that of trainings of one size.

    Returns:
        ``points``, ``deviation``, and ``gains``: for each of ``more`` the expected ``gain`` in mAP, ``low`` and
        ``high``, a 90 % interval.

    Raises:
        MgralError: fewer than three sizes, or no two trainings by which to tell chance.
    """
    images, scores = np.array(points, np.float64).T
    if len(set(images.tolist())) < FEWEST:
        raise MgralError(
            f"stopping.shares: {len(set(images.tolist()))} sizes of the pool; a curve needs {FEWEST}: give more shares"
        )
    sigma = _deviation(images, scores) if deviation is None else deviation
    if not sigma > 0:
        raise MgralError("stopping.repeats: no two trainings differ, so chance is not known; set noise.repeats or more")
    last = images.max()
    curves = _draws(images, scores, sigma)
    a, b, c = curves.T
    now = a - b * last**-c
    gains = []
    for further in more:
        gain = a - b * (last + further) ** -c - now
        low, middle, high = np.quantile(gain, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]).tolist()
        gains.append({"images": further, "gain": middle, "low": low, "high": high})
    return {"points": [[int(n), float(y)] for n, y in points], "deviation": float(sigma), "gains": gains}


def _deviation(images: Doubles, scores: Doubles) -> float:
    """The standard deviation between trainings on as many images, pooled over the sizes."""
    groups = [scores[images == size] for size in np.unique(images)]
    freedom = sum(len(group) - 1 for group in groups)
    return float(np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom)) if freedom else 0.0


def _draws(images: Doubles, scores: Doubles, sigma: float) -> Doubles:
    """Curves (a, b, c) [n, 3] by their probability, given the points: any exponent alike, then a and b.

    For one exponent the curve is linear in a and b, whose distribution is then normal. Where no exponent fits as
    closely as chance allows, what is left over counts as chance too. Curves that fall, or end above 1, are left out.
    """
    fits = []
    for exponent in EXPONENTS:
        terms = np.stack([np.ones_like(images), -(images**-exponent)], axis=1)
        inverse = np.linalg.pinv(terms.T @ terms)
        best = inverse @ terms.T @ scores
        fits.append((best, inverse, float(((scores - terms @ best) ** 2).sum())))
    errors = np.array([error for *_, error in fits])
    freedom = max(len(images) - 3, 1)
    variance = max(sigma**2, errors.min() / freedom)
    weights = np.exp(-(errors - errors.min()) / (2 * variance))
    rng = random_streams.generator(0, "stopping")
    chosen = rng.choice(len(EXPONENTS), size=DRAWS, p=weights / weights.sum())
    normal = rng.normal(size=(DRAWS, 2))
    curves = np.empty((DRAWS, 3))
    for k in np.unique(chosen):
        best, inverse, _ = fits[k]
        values, vectors = np.linalg.eigh(inverse * variance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        mine = chosen == k
        curves[mine, :2] = best + normal[mine] @ root.T
        curves[mine, 2] = EXPONENTS[k]
    kept = curves[(curves[:, 1] >= 0) & (curves[:, 0] <= 1)]
    return kept if len(kept) else curves * [1.0, 0.0, 1.0]  # none rises: further images are expected to bring nothing


def sentence(gain: Mapping[str, float]) -> str:
    """One of ``gains`` for a reader."""
    images = "Another image is" if round(gain["images"]) == 1 else f"Another {gain['images']:.0f} images are"
    low, middle, high = (signed(gain[key]) for key in ("low", "gain", "high"))
    return f"{images} expected to bring {middle} mAP ({100 * LEVEL:.0f} % interval {low} to {high})"


def read(path: Any) -> dict[str, Any]:
    """Read ``stopping.json``. Raises MgralError if it is none."""
    found = read_json(path)
    try:
        for gain in found["gains"]:
            sentence(gain)
        return {**found, "points": [(int(n), float(y)) for n, y in found["points"]]}
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{path}: no extrapolation of a curve; run `mgral stopping` again") from None
