"""What embeds images: the cycle's detector, or a backbone that is no part of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mgral.config.base import Positive, Settings

RANDOM = "random"  # in the place of a weights file


class Backbone(Settings):
    """A backbone that nobody trains here."""

    backbone: str = Field(
        default="resnet18", description="a timm model that gives feature maps, or torchvision/<name> for one of those"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="arguments that build it, e.g. {out_indices: [1, 2, 3]} for a timm model"
    )
    weights: str | None = Field(
        default=None,
        description="local weights file of it; random: initial weights from a fixed seed, which tell images apart much "
        "worse than trained ones",
    )


class EmbeddingParams(Backbone):
    """What embeds images, for strategies, generators of batches, the table and the agent."""

    kind: Literal["detector", "backbone"] = Field(
        default="detector", description="detector: that of the cycle; backbone: the one below, the same in each cycle"
    )
    patterns: Positive = Field(default=5, description="local patterns of an image, for freesel (paper: 5)")


class StoredEmbedding(EmbeddingParams):
    """What embeds images, for strategies, generators of batches, the table and the agent, and how that is kept."""

    precision: Literal["float32", "float16"] = Field(
        default="float32",
        description="of embeddings.npz; float16 halves what they take on disk, for a pool beyond memory, and rounds "
        "each number to 11 bits",
    )
