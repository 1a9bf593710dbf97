"""300 spoilt inputs of a seed: each is accepted soundly, or refused in one line. More by hand: spoil.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import spoil


@pytest.mark.parametrize("tens", range(30))
def test_spoilt_inputs(tens: int, tmp_path: Path) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert spoil.case(1, number, folder)[1] in {"accepted", "refused"}
