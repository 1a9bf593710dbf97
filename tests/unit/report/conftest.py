"""The run of a small experiment with its report."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from PIL import Image as Picture
from report_runs import BASE, FINAL, STAMP, Report, build, make_run

from mgral.config.schema import Params
from mgral.report import figures


@pytest.fixture(scope="session")
def params() -> Params:
    settings = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    return Params.parse({**settings, "seeds": [0, 1], "cycles": 2, "strategies": list(FINAL)}, "test:")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run, to change."""
    return make_run(tmp_path)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Report:
    run = make_run(tmp_path_factory.mktemp("report"))
    return Report(run, *build(run, params, stamp=STAMP))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of words alone: each plot is made and kept as one white pixel, since drawing takes most of the time."""
    pixel = io.BytesIO()
    Picture.new("RGB", (1, 1), "white").save(pixel, format="PNG")
    monkeypatch.setattr(figures, "png", lambda figure: pixel.getvalue())
