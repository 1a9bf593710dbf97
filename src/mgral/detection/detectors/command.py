"""command: a detector of your own, in any framework: command lines train it and predict with it.

Every command line is split as a shell splits words; no shell runs it. It may hold these placeholders:

=============  ============================================================================================
``{train}``    COCO JSON of the labelled images of this cycle; ``file_name`` is below ``{images}``
``{val}``      COCO JSON of the split val
``{images}``   the image root; with ``dataset.tiles`` a folder of tiles, which is there while the command runs
``{weights}``  train: the file or folder to write; predict: what training wrote. What is in it is your own matter
``{seed}``     a whole number below 2³¹; the same seed must give the same weights
``{loss}``     train, optional: CSV to write, with the columns ``step`` and ``loss``, finite numbers
``{work}``     train, optional: a folder that outlives a killed run, for checkpoints of your own
``{start}``    finetune: the weights to start from
``{list}``     predict: COCO JSON of the images to predict, without annotations
``{results}``  predict: COCO results to write, a list of ``image_id``, ``category_id``, ``bbox`` [x, y, width,
               height] in pixels of the image, ``score`` in 0..1 and, optionally, ``probs``: the probability of
               every class in the order of the categories (softmax: background first)
``{vectors}``  predict, optional: npz to write, ``ids`` [N] and ``vectors`` [N, D], an embedding of each image
=============  ============================================================================================

Replay rewards need nothing else. What needs the inside of a network (semi-supervised terms, a frozen backbone,
``ll4al``, ``mi_aod``, ``cald``, ``ppal``, ``pal``, ``meh_hua``) is refused when the parameters are checked.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from pydantic import Field, field_validator, model_validator

from mgral.config.base import Settings
from mgral.config.embedding import RANDOM, Backbone
from mgral.core.errors import MgralError, nearest
from mgral.core.types import Activation

EXTERNAL = True  # mgral.detection.external runs it; there is no network to build
PRIORS = False
DATA = {"train", "val", "images", "seed"}
PLACEHOLDERS = {
    "train": DATA | {"weights", "loss", "work"},
    "finetune": DATA | {"weights", "loss", "work", "start"},
    "predict": {"images", "weights", "list", "results", "vectors", "seed"},
}
NEEDED = {
    "train": {"train", "weights", "seed"},
    "finetune": {"train", "weights", "seed", "start"},
    "predict": {"weights", "list", "results"},
}


def placeholders(command: str) -> set[str]:
    """The names in braces of a command line. Raises ValueError if it cannot be split into words and names."""
    named = set()
    for word in shlex.split(command):
        for _, name, form, conversion in string.Formatter().parse(word):
            if form or conversion:
                raise ValueError(f"{{{name}}} takes no format")
            if name is not None:
                named.add(name)
    return named


class Embedding(Backbone):
    """The backbone that embeds images where the command writes no ``{vectors}``."""

    weights: str | None = Field(
        default=RANDOM, description="local weights file of it; random: initial weights from a fixed seed"
    )


class Options(Settings):
    """Options of command."""

    train: str = Field(description="command line that trains on {train} and writes {weights}")
    predict: str = Field(description="command line that reads {weights} and {list} and writes {results}")
    finetune: str | None = Field(
        default=None, description="command line that goes on from {start}; needed for proxy.start: detector"
    )
    environment: str | None = Field(
        default=None, description="folder of the virtual or conda environment whose programs the commands are"
    )
    folder: str | None = Field(default=None, description="folder to run in; none: where mgral runs")
    time_limit: float = Field(default=86400, gt=0, description="seconds after which a command is ended")
    activation: Literal["sigmoid", "softmax"] = Field(
        default="sigmoid", description="what probs hold: sigmoid, one probability a class; softmax, background first"
    )
    embedding: Embedding = Field(default_factory=Embedding, description="embeds where the command does not")
    determinism: Literal["trust", "check"] = Field(
        default="trust",
        description="check: train each detector twice and warn if its predictions on val differ; for a first trial",
    )

    @field_validator("train", "predict", "finetune")
    @classmethod
    def _a_command(cls, value: str | None, info: Any) -> str | None:
        if value is None:
            return None
        try:
            words, named = shlex.split(value), placeholders(value)
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({error}); write braces of your own twice") from None
        if not words or not words[0]:
            raise ValueError("is empty; give a command line")
        if "\0" in value:
            raise ValueError("holds a NUL, which no argument of a program can; remove it")
        known, needed = PLACEHOLDERS[info.field_name], NEEDED[info.field_name]
        if named - known:
            raise ValueError(f"unknown placeholder {{{min(named - known)}}}; {nearest(min(named - known), known)}")
        if needed - named:
            raise ValueError(f"lacks {{{min(needed - named)}}}; put it where the command reads or writes that")
        return value

    @model_validator(mode="after")
    def _an_environment_that_exists(self) -> Self:
        for name in ("environment", "folder"):
            given = getattr(self, name)
            if given is None:
                continue
            if Path(given).is_file():
                raise ValueError(f"{name}: {given}: is a file; name a folder, of an environment that is built already")
            if not Path(given).is_dir():
                raise ValueError(f"{name}: {given}: no such folder; build the environment, or correct the path")
            if name == "environment" and not Path(given, "bin").is_dir():
                raise ValueError(f"{name}: {given}: has no folder bin; name that of a virtual or conda environment")
        return self


def activation(options: Options) -> Activation:
    """What the options say."""
    return options.activation


def build(classes: Sequence[str], image_size: int, options: Options) -> NoReturn:
    """There is nothing to build.

    Raises:
        MgralError: always.
    """
    raise MgralError("detector.name: command has no network inside mgral; this step needs one: choose another detector")
