"""margin: the images in whose detections the two likeliest classes are closest (1-vs-2; Brust et al., VISAPP 2019).

A detection counts (1 - (p1 - p2))² with the two largest probabilities of its distribution over background and classes,
an image the sum, mean or maximum of its detections. The classes of a sigmoid detector are made a distribution [R]
(:mod:`mgral.strategies._distributions`).
"""

from __future__ import annotations

import numpy as np

from mgral.core.types import Doubles, Pick
from mgral.data.evidence import Evidence
from mgral.strategies._contract import Reasons
from mgral.strategies._per_image import PerImage, most_uncertain

NEEDS: frozenset[str] = frozenset({"detections"})
USES_PROBABILITIES = True
REASONS: Reasons = {
    "uncertainty": "of the image's detections together: each counts (1 - margin of its two likeliest classes)²",
    "detections": "how many were counted",
}


class Options(PerImage):
    """Options of margin."""


def select(evidence: Evidence, budget: int, seed: int, options: Options) -> list[Pick]:
    """Pick the images of smallest margins; arguments and errors as of :func:`most_uncertain`, ``seed`` is unused."""
    return most_uncertain(evidence, budget, "strategy margin", margins, options)


def margins(distributions: Doubles) -> Doubles:
    """[n] (1 - (p1 - p2))² of distributions [n, K], 0 for a sure one and 1 for a tie of the two likeliest."""
    two = np.sort(distributions, axis=1)[:, -2:]
    squares: Doubles = (1 - (two[:, 1] - two[:, 0])) ** 2
    return squares
