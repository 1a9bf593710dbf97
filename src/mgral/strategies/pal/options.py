"""Options of pal."""

from __future__ import annotations

from pydantic import Field

from mgral.config.base import Settings


class Options(Settings):
    """Options of pal; weights as published."""

    min_score: float = Field(default=0.05, ge=0, le=1, description="detections below are left out")
    penalty: float = Field(default=1.0, gt=0, description="of the logistic regressions' weights, squared; halved")
    expand: float = Field(default=2.0, ge=1, description="candidates of a class, as a multiple of its budget")
    instance: float = Field(default=0.9, ge=0, description="weight of the instances' uncertainty [LIUS]")
    similarity: float = Field(default=0.02, ge=0, description="weight of being unlike candidates ranked above [RCSP]")
    image: float = Field(default=0.04, ge=0, description="weight of the image's entropy and rare classes [CWIE, RCDI]")
