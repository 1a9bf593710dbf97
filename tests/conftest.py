"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("MGRAL_DATA", ROOT.parent / "shared" / "data")) / name
        if not folder.exists():
            pytest.skip(f"{folder} is absent; set MGRAL_DATA to the folder that holds {name}/")
        return folder

    return find
