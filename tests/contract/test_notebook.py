"""The notebook of examples/ runs from `selected.json` to a gallery.

Its code cells run in one namespace, as a kernel runs them: a Jupyter in the environment would add some thirty packages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import numpy as np
import pytest
from report_runs import CLASSES, make_run

from mgral.core.types import Detections
from mgral.detection import detections_file

NOTEBOOK = Path(__file__).parents[2] / "examples/next_batch.ipynb"


def run_cells(path: Path) -> dict[str, Any]:
    """The names that are there when the last code cell has run."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{path.name}, cell {number}", "exec"), names)
    return names


def test_it_is_a_valid_notebook_without_outputs() -> None:
    content = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(content)
    assert all(cell.outputs == [] for cell in content.cells if cell.cell_type == "code")


@pytest.mark.parametrize("detected", [True, False])
def test_it_shows_the_batch_with_reasons_and_detections(
    detected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from its own folder, where a notebook program starts it."""
    matplotlib.use("Agg")
    cycle = make_run(tmp_path) / "mgral/seed-0/cycle-0"
    if detected:
        probs = np.array([[0.1, 0.1, 0.8], [0.9, 0.05, 0.05]], np.float32)
        boxes = np.array([[5, 5, 20, 20], [1, 1, 9, 9]], np.float32)
        found = Detections(boxes, probs[:, 1:].max(axis=1), np.array([1, 0]), probs)
        detections_file.write(cycle / "detections.npz", dict.fromkeys((3, 4), found), "softmax", len(CLASSES))
    monkeypatch.setenv("MGRAL_CYCLE", str(cycle.relative_to(tmp_path)))
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir(tmp_path / "examples" if detected else tmp_path)
    names = run_cells(NOTEBOOK)
    picks = json.loads((cycle / "selected.json").read_text())["picks"]
    assert names["table"].index.tolist() == [pick["id"] for pick in picks]
    assert names["table"]["file"].tolist() == [pick["file_name"] for pick in picks]
    drawn = [axes for axes in names["figure"].axes if axes.images]
    assert [axes.get_title().splitlines()[0] for axes in drawn] == [
        f"{rank}. score {pick['score']:.3g}" for rank, pick in enumerate(picks, start=1)
    ]
    assert all("odds 1.23" in axes.get_title() for axes in drawn)
    # of two detections one has a score of at least 0.3
    assert [[text.get_text() for text in axes.texts] for axes in drawn] == [[CLASSES[1]] if detected else []] * 2
    assert [len(axes.patches) for axes in drawn] == [1 if detected else 0] * 2
