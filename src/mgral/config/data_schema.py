"""The schema of a data set: where its files lie, how they are taken, and how splits are drawn."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mgral.config.base import Count, Fraction, Positive, Settings, parameter

SMALLEST_TILE = 32  # pixels a side


class Splits(Settings):
    """Shares drawn per class, for a data set that brings no splits."""

    val: Fraction = parameter(0.2, "share of all annotated images; rewards are measured on them")
    test: Fraction = parameter(0.3, "share of all annotated images; reported results are measured on them")
    seed: Count = parameter(0, "seed of the draw")
    group: str | None = Field(
        default=None,
        description="regular expression over the file name: images whose matched groups are equal (variants of one "
        "picture, frames of one video) stay in one split, e.g. '^(.*)\\.rf\\.'; null: each image is drawn alone",
    )

    @field_validator("group")
    @classmethod
    def _a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _leave_a_pool(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError("val + test must stay below 1, or no image is left for the pool")
        return self


class Tiles(Settings):
    """Images that are larger than a tile, cut before a detector sees them."""

    size: Count = Field(
        default=0,
        description="side of a tile [pixels of the original image]; larger images are cut into overlapping tiles, "
        "their detections merged. 0: images are not cut",
    )
    overlap: Count = Field(
        default=0,
        description="of neighbouring tiles [pixels]; as large as most objects, so that a tile shows each whole",
    )
    visible: Fraction = Field(
        default=0.5,
        description="share of a box that a tile must show for the box to be an object there; what shows less of it is "
        "an ignored region",
    )
    by: Literal["image", "tile"] = Field(
        default="image",
        description="what is selected and annotated: whole images, or the tiles of train. Val and test are always "
        "evaluated as whole images",
    )

    @model_validator(mode="after")
    def _tiles_advance(self) -> Self:
        if 0 < self.size < SMALLEST_TILE:
            raise ValueError(f"size: {self.size} pixels are too few; set at least {SMALLEST_TILE}, or 0 for no tiles")
        if self.size and self.overlap > self.size // 2:
            raise ValueError(f"overlap: {self.overlap} is more than half of size {self.size}; set a smaller one")
        if not self.size and (self.overlap or self.by == "tile"):
            raise ValueError("size: 0, so images are not cut; set the side of a tile, or leave out the other keys")
        return self


class DatasetParams(Settings):
    """Which data set, and how its files are taken."""

    format: str = parameter("synthetic", "importer: coco, voc, yolo, folder, synthetic")
    root: str | None = parameter(None, "folder of the data set, ~ is the home folder; null for a generated one")
    options: dict[str, Any] = parameter({}, "the importer's own keys")
    on_invalid: Literal["fail", "drop"] = parameter(
        "fail",
        "fail: the first fault ends the import; drop: faulty boxes and images are left out and listed. A box left out "
        "leaves an ignored region, or its image unannotated",
    )
    splits: Splits
    links: Literal["refuse", "follow"] = Field(
        default="refuse",
        description="symbolic links that lead out of the data set: refuse, or follow (DVC, git-annex, hub caches, "
        "folders on another disk). Links within it are always followed",
    )
    match: Literal["path", "name"] = Field(
        default="path",
        description="how file names in annotations lead to images. path: as given, without leading folders that do not "
        "exist; name: by the bare file name, wherever below the image root",
    )
    unlisted: Literal["leave", "pool"] = Field(
        default="leave",
        description="images in the folder that no list or annotation names. leave: they stay outside and are counted; "
        "pool: they wait in the pool, unannotated",
    )
    max_pixels: Positive = Field(
        default=178_956_970,
        description="pixels; a larger image is refused, since a small file can expand to fill the memory. Raise it for "
        "panoramas and satellite images",
    )
    tiles: Tiles = Field(default_factory=Tiles, description="cutting of large images")
