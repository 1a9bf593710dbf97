"""Which free rule fits the cycle's detector: one share on val decides between two rules.

Where a detector is confident and right, what it is uncertain of can be learnt, and class-balanced entropy gains most
(:mod:`mgral.strategies.balanced`). Where it is confident and wrong, uncertain images are those it cannot learn yet, and
the log growth of the classes that it knows is the safe rule (:mod:`mgral.strategies.growth` with competence weights).
The threshold was seen on five data sets after the fact; docs/claims.md says how it is tested.
"""

from __future__ import annotations

from typing import Literal

THRESHOLD = 0.6  # of the share of confident detections that are right
FEWEST = 10  # confident detections, below which a share says nothing

Rule = Literal["balanced", "growth"]
Confident = tuple[int, int]  # confident detections on val, and how many of them are right


def rule_for(confident: Confident) -> Rule:
    """The rule for a detector: ``balanced`` if it is right where it is confident, ``growth`` if not or if few tell."""
    count, right = confident
    return "balanced" if count >= FEWEST and right >= THRESHOLD * count else "growth"


def told(confident: Confident) -> str:
    """What decided, as a part of a sentence."""
    count, right = confident
    if count < FEWEST:
        return f"the detector has {count} confident detections on val, too few to tell"
    return f"{right} of {count} confident detections on val are right, threshold {THRESHOLD:.0%}"
