"""Many classes and keys: the calls of functions are counted, which grow with the number and not with its square."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.data import stratified_split
from mgral.data.faults import Findings
from mgral.data.formats import coco


def calls(run: Callable[[], Any]) -> int:
    """How many functions are called, those of Python itself among them."""
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def splits(count: int) -> Callable[[], Any]:
    chance = random.Random(0)
    labels = {i: {chance.randrange(count) for _ in range(3)} for i in range(count)}
    return lambda: stratified_split.draw(labels, {"val": 0.2, "test": 0.2}, "train", 0)


def categories(count: int) -> Callable[[], Any]:
    entries = [{"id": i, "name": f"class {i}"} for i in range(count)]
    return lambda: coco._categories("a.json", entries, Findings(Path()))


@pytest.mark.parametrize("make", [splits, categories])
def test_calls_grow_with_the_number_and_not_with_its_square(make: Callable[[int], Callable[[], Any]]) -> None:
    assert calls(make(4_000)) < 16 * calls(make(500))  # 8 times as many; 64 for the square


def test_a_key_that_occurs_twice_among_many(tmp_path: Path) -> None:
    keys = ", ".join(f'"{i}": 0' for i in range(60_000))
    (tmp_path / "a.json").write_text(f'{{{keys}, "59999": 1}}')
    with pytest.raises(MgralError, match="'59999' occurs twice"):
        read_json(tmp_path / "a.json")
