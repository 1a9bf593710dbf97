"""Whether the boxes of one returned file can be right as a whole: what no single box gives away."""

from __future__ import annotations

from collections.abc import Iterable

from mgral.annotation.box_rules import Sized
from mgral.annotation.exchange import Answer
from mgral.core.errors import MgralError

ENOUGH = 4  # boxes; of fewer, that most are odd may be chance
PAST = 0.05  # of an image's side; people draw a little past the edge, and tools cut that off


def check(name: str, answers: Iterable[tuple[Sized, Answer]]) -> None:
    """Refuse boxes that are plainly in another unit, or whose numbers are meant in another way.

    A box that leaves its image is clipped, and dropped if nothing is left of it. Where that would happen to most boxes
    of a file, their objects would become background, or get other boxes.

    Args:
        name: of the returned file.
        answers: that it holds, each with its image.

    Raises:
        MgralError: all numbers lie between 0 and 1, or more than half of the boxes leave their images by far.
    """
    count = outside = 0
    largest = 0.0
    first = ""
    for image, answer in answers:
        for box in answer.boxes if answer.state == "finished" else ():
            count += 1
            largest = max(largest, *map(abs, box.xyxy))
            if _leaves(box.xyxy, image.width, image.height):
                outside += 1
                first = first or answer.name
    if count < ENOUGH:
        return
    if 0 < largest <= 1:
        what = f"no corner of the {count} boxes lies beyond 1 pixel: these are shares of the image's sides"
        raise MgralError(f"{name}: {what}; export it again in pixels, or as the tool's format has it")
    if 2 * outside > count:
        what = f"{outside} of {count} boxes leave their images by far, {first} first"
        raise MgralError(f"{name}: {what}: they are in another unit or layout than the format has; convert them")


def _leaves(xyxy: tuple[float, float, float, float], width: int, height: int) -> bool:
    """Whether a box lies outside its image, or leaves it by more than a twentieth of its side."""
    x1, y1, x2, y2 = xyxy
    past = max(-x1 / width, -y1 / height, x2 / width - 1, y2 / height - 1)
    return past > PAST or x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0
