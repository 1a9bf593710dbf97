"""Options of meh_hua."""

from __future__ import annotations

from pydantic import Field

from mgral.config.base import Settings


class Options(Settings):
    """Options of meh_hua; numbers are those of the official code."""

    hidden: int = Field(default=64, ge=1, description="channels of the head's layer for each feature map; code: 256")
    weight: float = Field(default=1.0, gt=0, description="of the head's loss beside the detector's own")
    evidence: float = Field(
        default=25.0, gt=0, description="evidence of a box whose predicted loss is its level's mean"
    )
    min_score: float = Field(
        default=0.3, ge=0, le=1, description="detections, and boxes before the suppression, count above this score"
    )
    overlap: float = Field(default=0.5, ge=0, le=1, description="IoU above which a box belongs to a detection")
