"""Which free rule fits the cycle's detector: one share on val decides between two rules.

Where a detector is confident and right, what it is uncertain of can be learnt, and class-balanced entropy gains most
(:mod:`mgral.strategies.balanced`). Where it is confident and wrong, some uncertain images are those it cannot learn
yet, and the rule that leaves these out is the safe one (:mod:`mgral.strategies.learnable`). The threshold was seen on
five data sets after the fact; docs/claims.md says how it is tested.
"""

from __future__ import annotations

from typing import Literal

THRESHOLD = 0.6  # of the share of confident detections that are right
FEWEST = 10  # confident detections, below which a share says nothing

Rule = Literal["balanced", "learnable"]
Confident = tuple[int, int]  # confident detections on val, and how many of them are right


def rule_for(confident: Confident) -> Rule:
    """The rule for a detector: ``balanced`` if it is right where it is confident, ``learnable`` if not, or unknown."""
    count, right = confident
    return "balanced" if count >= FEWEST and right >= THRESHOLD * count else "learnable"


def told(confident: Confident) -> str:
    """What decided, as a part of a sentence."""
    count, right = confident
    if count < FEWEST:
        return f"the detector has {count} confident detections on val, too few to tell"
    return f"{right} of {count} confident detections on val are right, threshold {THRESHOLD:.0%}"
