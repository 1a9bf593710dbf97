"""The run of a small experiment with its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure
from report_runs import BASE, FINAL, STAMP, Report, build, make_run

from mgral.config.schema import Params
from mgral.report import figures
from mgral.report.context import Plate, Plates


@pytest.fixture(scope="session")
def params() -> Params:
    settings = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    return Params.parse({**settings, "seeds": [0, 1], "cycles": 2, "strategies": list(FINAL)}, "test:")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run, to change."""
    return make_run(tmp_path)


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not rendered, which is most of a report's time: for tests that read its text."""
    monkeypatch.setattr(figures, "png", lambda figure: b"")


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the named figures alone rendered, for tests that look at these."""

    def only(*names: str) -> None:
        png, add = figures.png, Plates.add

        def chosen(plates: Plates, name: str, figure: Figure, caption: str) -> Plate:
            monkeypatch.setattr(figures, "png", png if name in names else lambda figure: b"")
            return add(plates, name, figure, caption)

        monkeypatch.setattr(Plates, "add", chosen)

    return only


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Report:
    run = make_run(tmp_path_factory.mktemp("report"))
    return Report(run, *build(run, params, stamp=STAMP))
