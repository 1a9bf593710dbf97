"""Images that join a data set after its run has begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgral.annotation.labels import Outcome, apply
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Image


def image(id: int, name: str, since: int = 0) -> Image:
    return Image(id, name, 9, 9, "train", since)


def test_they_are_appended() -> None:
    dataset = Dataset(("ant",), {1: image(1, "a.png")}, {}, Path("set"))
    after = apply(dataset, Outcome({}, {}), ["ant"], [image(2, "b.png", 1)])
    assert after.images == {1: image(1, "a.png"), 2: image(2, "b.png", 1)}


@pytest.mark.parametrize(("id", "name"), [(1, "b.png"), (2, "a.png")])
def test_they_replace_none(id: int, name: str) -> None:
    """A register that lost entries gives their ids to others, or an image a second id."""
    dataset = Dataset(("ant",), {1: image(1, "a.png")}, {}, Path("set"))
    with pytest.raises(MgralError, match=f"image {id} .* joins the data set, which has that id or file already"):
        apply(dataset, Outcome({}, {}), ["ant"], [image(id, name, 1)])
