"""Options of cald."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mgral.config.base import Settings


class Options(Settings):
    """Options of cald; the paper's letters in brackets."""

    variant: Literal["paper", "code"] = Field(
        default="paper", description="as in the paper, or as in its code where that differs"
    )
    min_score: float = Field(default=0.05, ge=0, le=1, description="detections below are left out")
    base: float = Field(default=1.3, ge=0, le=2, description="consistency m that tells most [beta]")
    expand: float = Field(
        default=0.2, ge=0, description="candidates of the first stage beyond the budget, as a share of it [delta]"
    )
    empty: Literal["last", "first"] = Field(
        default="last",
        description="of an image without detection, in the paper: the largest there is, or 0; code: 0",
    )
