"""How images of any shape become the square input of a detector."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from mgral.core.types import Dataset, Image

Mode = Literal["squash", "letterbox", "shortest_edge"]
MULTIPLE = 32  # the input of shortest_edge is padded to it, the coarsest stride of most backbones


@dataclass(frozen=True)
class Resizing:
    """The rule for all images of a data set.

    ``squash`` changes the sides of an image to ``size`` each. The others keep its shape; the image lies in the upper
    left corner of the input and the rest is grey. ``letterbox``: its longer side becomes ``size``. ``shortest_edge``:
    its shorter side becomes ``size``, or less where its longer side would exceed ``longest`` (RetinaNet: 800, 1333).

    Attributes:
        mode: which rule.
        size: pixels.
        longest: pixels; of ``shortest_edge`` alone, 0 for the others.
    """

    mode: Mode
    size: int
    longest: int = 0

    @classmethod
    def of(cls, mode: Mode, size: int, longest: int) -> Self:
        """From the parameters ``resize``, ``image_size`` and ``longest_edge``."""
        return cls(mode, size, longest if mode == "shortest_edge" else 0)

    @property
    def name(self) -> str:
        """The rule as one word, for the header of a cache."""
        return f"{self.mode}_{self.size}" + (f"_{self.longest}" if self.longest else "")

    @classmethod
    def named(cls, name: str) -> Self | None:
        """What :attr:`name` says; None if it is no such word."""
        found = re.fullmatch(r"(squash|letterbox|shortest_edge)_(\d+)(?:_(\d+))?", name)
        return None if found is None else cls(found[1], int(found[2]), int(found[3] or 0))  # type: ignore[arg-type]

    @property
    def largest_side(self) -> int:
        """Side of the square input that takes images of any shape, pixels."""
        return -(-self.longest // MULTIPLE) * MULTIPLE if self.mode == "shortest_edge" else self.size

    def shape(self, image: Image) -> tuple[int, int]:
        """Width and height of an image in the input, pixels, at least 1."""
        if self.mode == "squash":
            return self.size, self.size
        sides = image.width, image.height
        scale = self.size / (max(sides) if self.mode == "letterbox" else min(sides))
        if self.longest:
            scale = min(scale, self.longest / max(sides))
        width, height = (max(1, round(side * scale)) for side in sides)
        return width, height

    def side(self, dataset: Dataset) -> int:
        """Side of the square input that takes all images of a data set, pixels."""
        if self.mode != "shortest_edge":
            return self.size
        longest = max((max(self.shape(image)) for image in dataset.images.values()), default=self.size)
        return -(-longest // MULTIPLE) * MULTIPLE
