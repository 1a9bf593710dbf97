"""From boxes as a tool returned them to boxes of the data set: classes by name, corners inside the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mgral.annotation.exchange import Answer, Origin
from mgral.core.errors import MgralError, nearest, shown

SNAP = 1e-6  # pixels; percentages and shares give whole pixels back to 1e-12, see the tests of the tools


class Sized(Protocol):
    """An image of a batch or of the data set."""

    @property
    def id(self) -> int:
        """Of the image."""
        ...

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...


@dataclass(frozen=True)
class LabelBox:
    """One box of an answer, fit to be a label.

    Attributes:
        label: index of its class; -1 of a box to ignore whose class the data set does not have.
        xyxy: corners in pixels, inside the image, with an area.
        ignore: neither trained on nor counted.
        origin: see :data:`mgral.annotation.exchange.Origin`.
    """

    label: int
    xyxy: tuple[float, float, float, float]
    ignore: bool = False
    origin: Origin = "unknown"


def fit(
    answer: Answer, image: Sized, classes: Sequence[str], names: Mapping[str, str], counts: Counter[str]
) -> tuple[LabelBox, ...]:
    """The boxes of an answer.

    Corners within 1e-6 of a whole pixel become that pixel. What leaves the image is clipped; a box without area inside
    it is dropped, and so is a box that is there twice; all are counted, and so are hulls of rotated boxes, polygons
    and ellipses.

    Args:
        answer: with boxes as the tool has them.
        image: that it is about.
        classes: of the data set.
        names: the data set's name of a class that the tool calls otherwise; ``ignore``: its boxes are ignored.
        counts: takes what was done.

    Raises:
        MgralError: an unknown class, a box that is not four finite numbers or whose corners are swapped, or an image
            shown in another size.
    """
    _check_size(answer, image)
    boxes: list[LabelBox] = []
    there = set()
    for number, box in enumerate(answer.boxes, start=1):
        name = names.get(box.label, box.label)
        if name != "ignore" and name not in classes:
            raise MgralError(
                f"image {image.id} ({answer.name}): unknown class {shown(box.label)}; set annotation.map "
                f"({shown(box.label)}: a class or ignore), or append it to annotation.classes; {nearest(name, classes)}"
            )
        if not all(abs(value) < 1e9 for value in box.xyxy):  # false for NaN too
            raise MgralError(f"image {image.id} ({answer.name}): box {number} is not four numbers; correct it")
        if box.xyxy[2] - box.xyxy[0] < -SNAP or box.xyxy[3] - box.xyxy[1] < -SNAP:
            raise MgralError(
                f"image {image.id} ({answer.name}): box {number}, of class {shown(box.label)}, ends before it begins: "
                "its corners are swapped, or its width or height is negative; correct it"
            )
        snapped = tuple(float(round(value)) if abs(value - round(value)) < SNAP else value for value in box.xyxy)
        x1, y1, x2, y2 = snapped
        inside = (
            min(max(x1, 0.0), float(image.width)),
            min(max(y1, 0.0), float(image.height)),
            min(max(x2, 0.0), float(image.width)),
            min(max(y2, 0.0), float(image.height)),
        )
        if np.float32(inside[2]) <= np.float32(inside[0]) or np.float32(inside[3]) <= np.float32(inside[1]):
            counts["boxes without area, dropped"] += 1
            continue
        counts["boxes clipped to their image"] += inside != snapped
        counts["rotated boxes, polygons and ellipses, as their hull"] += box.hull
        label = classes.index(name) if name in classes else -1
        if (label, inside) in there:
            counts["boxes that are there twice, kept once"] += 1
            continue
        there.add((label, inside))
        ignore = box.ignore or label < 0 or names.get(box.label) == "ignore"  # a class may be called ignore
        boxes.append(LabelBox(label, inside, ignore, box.origin))
    return tuple(boxes)


def _check_size(answer: Answer, image: Sized) -> None:
    if answer.size is None or answer.size == (image.width, image.height):
        return
    width, height = answer.size
    place = f"image {image.id} ({answer.name}): the tool showed it as {width} x {height}, the file has"
    if answer.size == (image.height, image.width):
        raise MgralError(
            f"{place} {image.width} x {image.height}: an EXIF orientation turns it; turn the pixels and remove the tag "
            "(`mogrify -auto-orient`), and annotate it again"
        )
    raise MgralError(f"{place} {image.width} x {image.height}; annotate the file itself")
