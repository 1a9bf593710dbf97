"""100 spoilt returns of annotation tools, of a seed: each is taken soundly, or refused in one line and not taken."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import spoil_returns


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Only the line of a refusal goes to standard error."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("tens", range(10))
def test_spoilt_returns(tens: int, tmp_path: Path) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert spoil_returns.case(1, number, folder)[1] in {"accepted", "refused"}
