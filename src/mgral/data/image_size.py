"""The size of an image as its annotation gives it, against that of the file."""

from __future__ import annotations

from typing import Any

from mgral.data.box_validation import number
from mgral.data.image_files import Facts


def disagreement(given: tuple[Any, Any] | None, facts: Facts) -> str:
    """In what a given size differs from the file's; empty if it does not. Sides of 0 stand for unknown ones."""
    if given is None or (given == facts.size and type(given[0]) is type(given[1]) is int):
        return ""
    size = tuple(map(number, given))
    if all(side == 0 for side in size) or size == facts.size or _half_right(given, size, facts):
        return ""
    said = " x ".join(str(side)[:20] for side in given)
    real = f"{facts.size[0]} x {facts.size[1]}"
    if size == facts.stored:
        return f"size {said} is that of the pixels as stored, EXIF turns the image to {real}: boxes would lie wrong"
    return f"size {said} disagrees with the file's {real}"


def _half_right(given: tuple[Any, Any], size: tuple[float | None, ...], facts: Facts) -> bool:
    """Whether a side is missing, and the other one is that of the image as it is shown or stored."""
    both = zip(given, size, facts.size, facts.stored, strict=True)
    return None in given and all(said is None or side in (shown, stored) for said, side, shown, stored in both)
