"""What a format hands over: images and annotations as they stand in its files, not yet judged."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Layout = Literal["xyxy", "inclusive", "xywh", "centre"]
"""How the four numbers of an object are meant.

``xyxy``: corners in pixels. ``inclusive``: corners counted from 1, the last pixel included (PASCAL VOC).
``xywh``: left, top, width, height in pixels (COCO). ``centre``: centre, width, height as shares of the image's
sides (YOLO).
"""


@dataclass(frozen=True)
class RawImage:
    """An image that the data set names.

    Attributes:
        key: what its annotation is found by: an id in COCO, a stem elsewhere.
        file: the file that names it, below the root of the data set.
        file_name: its path below the image root, as given.
        split: train, val, test as given; None if the data set does not say.
    """

    key: Hashable
    file: str
    file_name: Any
    split: Any = None


@dataclass(frozen=True)
class RawObject:
    """One annotated object.

    Attributes:
        id: how a message names it: ``annotation 17``, ``object 2``, ``line 3``.
        label: its class's name; any other value is an unknown class.
        numbers: four values, in the source's layout.
        ignore: a crowd region, or an object marked difficult.
    """

    id: str
    label: Any
    numbers: Any
    ignore: bool = False


@dataclass(frozen=True)
class Sheet:
    """The annotation of one image.

    Attributes:
        file: where it stands, below the root of the data set.
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
            has looked) or a ``fault``.
        unlisted: images that lie in the folder and that no list or annotation names; they stay outside.
    """

    image_root: Path
    images: list[RawImage]
    sheets: dict[Hashable, Sheet]
    layout: Layout
    classes: list[str] | None
    keys_are_ids: bool = False
    without_sheet: Literal["empty", "unlabelled", "fault"] = "empty"
    unlisted: list[str] = field(default_factory=list)
