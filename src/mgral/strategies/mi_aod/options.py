"""Options of mi_aod."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mgral.config.base import Settings


class Options(Settings):
    """Options of mi_aod; the paper's letters in brackets."""

    variant: Literal["paper", "code"] = Field(
        default="paper", description="how anchors, levels and images are combined: as in the paper or as in its code"
    )
    effort: float = Field(
        default=1.0,
        gt=0,
        description="images trained on, as a multiple of what the cycle's detector is (training.steps x batch_size); "
        "a step with unlabelled images counts twice",
    )
    rounds: int = Field(default=2, ge=1, description="of minimising, maximising and learning from labels again")
    epochs: int = Field(default=3, ge=1, description="of learning from labels for one of minimising or maximising")
    weight: float = Field(default=0.5, gt=0, description="of the disagreement beside the other losses [lambda]")
    pseudo: float = Field(
        default=0.5, ge=0, le=1, description="probability from which an unlabelled image counts as showing a class"
    )
    top: int = Field(default=10000, ge=1, description="anchors that make an image's score, of largest discrepancy [k]")
    report: Literal["plain", "own"] = Field(
        default="plain",
        description="own: evaluate the two classifiers too, in every cycle; a curve <label>:own beside the plain one",
    )
