"""Published learning curves, from ``published.yaml``: for comparison by eye, never a pass or fail."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import Field

from mgral.config.base import Settings

FILE = "published.yaml"


class Line(Settings):
    """One method.

    Attributes:
        read: whether its values were read off a ``figure`` (± 0.3) or stand in the ``text``.
        percent: values, one for each of the protocol's numbers of images.
    """

    name: str
    read: Literal["figure", "text"]
    percent: list[Annotated[float, Field(ge=0, le=100)]]


class Protocol(Settings):
    """Curves of one detector on one data set.

    Attributes:
        measure: which of the report's measures it is, ``mAP`` or ``AP50``.
        images: labelled, ascending.
    """

    title: str
    measure: Literal["mAP", "AP50"]
    images: list[int]
    curves: list[Line]

    @property
    def caption(self) -> str:
        """What the lines are and how well they are known."""
        exact = [line.name for line in self.curves if line.read == "text"]
        known = f" ({', '.join(exact)}: as printed)" if exact else ""
        return f"Dashed: published curves ({self.title}), read off figures to about ± 0.3 points{known}."


def read(protocol: str) -> Protocol | None:
    """The published curves of a protocol (``report.protocol``); None for ``none``."""
    if protocol == "none":
        return None
    text = resources.files("mgral.report").joinpath(FILE).read_text(encoding="utf-8")
    return Protocol.parse(yaml.safe_load(text)[protocol], f"{FILE}: {protocol}:")
