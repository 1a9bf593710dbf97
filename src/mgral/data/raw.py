"""What a format hands over: images and annotations as its files hold them, not yet judged."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mgral.core.boxes import xyxy_to_xywh
from mgral.core.errors import shown

Layout = Literal["xyxy", "inclusive", "xywh", "centre"]
"""How the four numbers of an object are meant.

``xyxy``: corners in pixels. ``inclusive``: corners counted from 1, the last pixel included (PASCAL VOC).
``xywh``: left, top, width, height in pixels (COCO). ``centre``: centre, width, height as shares of the image's
sides (YOLO).
"""

_TRUE = frozenset({"1", "true", "yes", "y", "t", "on"})
_FALSE = frozenset({"", "0", "false", "no", "n", "f", "off", "unspecified", "none", "null", "unknown"})


@dataclass(frozen=True, slots=True)
class RawImage:
    """An image that the data set names.

    Attributes:
        key: what its annotation is found by: an id in COCO, a stem elsewhere.
        file: the file that names it, below the root of the data set.
        file_name: its path below the image root, as given.
        split: train, val, test as given; None if the data set does not say.
        folder: the folder below the image root that the name starts from.
    """

    key: Hashable
    file: str
    file_name: Any
    split: Any = None
    folder: str = ""


class RawObject(NamedTuple):
    """One annotated object; a tuple, since a data set may hold a million.

    Attributes:
        id: how a message names it: ``object 2``, ``line 3``; a number stands for ``annotation <number>``.
        label: its class's name; any other value is an unknown class.
        numbers: four values, in the source's layout.
        ignore: a crowd region, or an object marked difficult; text says which flag has an unknown value.
        fault: what is wrong with it already as text, e.g. two boxes in one object; None if nothing is.
    """

    id: str | int
    label: Any
    numbers: Any
    ignore: bool | str = False
    fault: str | None = None

    @property
    def name(self) -> str:
        """How a message names it."""
        return f"annotation {self.id}" if isinstance(self.id, int) else self.id


@dataclass(frozen=True, slots=True)
class Sheet:
    """The annotation of one image.

    Attributes:
        file: where it is, below the root of the data set.
        objects: in the order of the file.
        size: width and height as the annotation gives them; None where it does not.
    """

    file: str
    objects: list[RawObject]
    size: tuple[Any, Any] | None = None


@dataclass(frozen=True)
class Source:
    """A data set as its format read it.

    Attributes:
        image_root: folder that file names start from and never leave.
        images: as listed; repeats are kept, so that they can be reported.
        sheets: annotations by the key of their image.
        layout: of all objects' numbers.
        classes: names in order; None: the names found, sorted.
        keys_are_ids: the keys are numbers of the data set's own, kept if they are unique and positive.
        without_sheet: what an image without annotation is: ``empty`` (no object in it), ``unlabelled`` (nobody
            has annotated it) or a ``fault``.
        unlisted: images that lie in the folder and that no list or annotation names.
        unused: annotation files of unlisted images, by the image: they are not read, and that is said.
        pool_only: keys of images that nobody has annotated, whatever ``without_sheet`` is.
        classes_hint: remedy where no classes were found.
    """

    image_root: Path
    images: list[RawImage]
    sheets: dict[Hashable, Sheet]
    layout: Layout
    classes: list[str] | None
    keys_are_ids: bool = False
    without_sheet: Literal["empty", "unlabelled", "fault"] = "empty"
    unlisted: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    pool_only: frozenset[Hashable] = frozenset()
    classes_hint: str = ""


class Unfit(str):
    """What is in the place of an id and cannot be one, as messages show it."""

    __slots__ = ()


def own_id(value: Any) -> int | str:
    """An id as a file gives it: a whole number, also as text or with a point, or other text.

    Anything else becomes :class:`Unfit`, which equals no number: ``True == 1`` in Python.
    """
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= 200:
        return int(value) if value.isascii() and value.isdecimal() and len(value) <= 18 else value
    return Unfit(shown(value))


def flag(value: Any) -> bool | None:
    """What a flag says: a truth value, a number 0 or 1, or text that stands for one; None if it says neither.

    ``Unspecified``, as some tools write it, is no.

    >>> flag("False"), flag("0.0"), flag(1), flag("perhaps")
    (False, False, True, None)
    """
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    try:
        return flag(float(text))
    except ValueError:
        return None


def ignored(flags: dict[str, Any]) -> bool | str:
    """Whether any of an object's flags is set; text that names the first one whose value is unknown."""
    if all(value is False or (type(value) is int and value == 0) for value in flags.values()):
        return False  # as nearly all are
    said = {name: flag(value) for name, value in flags.items()}
    for name, value in said.items():
        if value is None:
            return f"{name} {shown(flags[name])} is neither yes nor no"
    return any(said.values())


def hull(points: Sequence[float]) -> list[float]:
    """Left, top, width, height of the smallest upright box around x, y, x, y, …; NaN if a point is not finite.

    >>> hull([2, 3, 5, 3, 4, 9])
    [2.0, 3.0, 3.0, 6.0]
    """
    if not all(map(math.isfinite, points)):  # the least and the largest of such points depend on their order
        return [math.nan] * 4
    xs, ys = points[0::2], points[1::2]
    return [float(value) for value in xyxy_to_xywh([min(xs), min(ys), max(xs), max(ys)])]


def turned_hull(x: float, y: float, w: float, h: float, angle: float) -> list[float]:
    """Left, top, width, height of the hull of a box that was turned about its centre by ``angle`` degrees.

    >>> turned_hull(0, 2, 4, 2, 90)
    [1.0, 1.0, 2.0, 4.0]
    """
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height = w * cos + h * sin, w * sin + h * cos
    return [x + (w - width) / 2, y + (h - height) / 2, width, height]
