"""Options of ll4al."""

from __future__ import annotations

from pydantic import Field

from mgral.config.base import Settings


class Options(Settings):
    """Options of ll4al; the paper's letters in brackets."""

    hidden: int = Field(default=128, ge=1, description="width of the head's layer for each feature map")
    margin: float = Field(default=1.0, gt=0, description="between the predictions of a pair of images [xi]")
    weight: float = Field(default=1.0, gt=0, description="of the ranking loss beside the detector's own [lambda]")
    joint: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="share of the steps in which the ranking loss also trains the detector; for SSD 240 of 300 epochs",
    )
    subset: int = Field(
        default=0, ge=0, description="images, drawn at random, from which the batch is taken; 0: the whole pool"
    )
