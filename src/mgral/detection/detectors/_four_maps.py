"""Options that SSDs over four maps share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mgral.config.base import Settings

if TYPE_CHECKING:
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator


class FourMaps(Settings):
    """Options of an SSD over four maps, at strides 8, 16, 32 and 64."""

    scales: list[float] = Field(
        [0.1, 0.22, 0.42, 0.68, 0.95],
        min_length=5,
        max_length=5,
        description="side of the priors at strides 8, 16, 32, 64 and one more, as a share of the image",
    )

    def priors(self) -> DefaultBoxGenerator:
        """Priors of aspect 1, 2 and (in the middle) 3."""
        from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

        return DefaultBoxGenerator([[2], [2, 3], [2, 3], [2]], scales=self.scales, clip=False)
