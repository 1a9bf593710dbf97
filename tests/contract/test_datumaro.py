"""datumaro, which CVAT's formats come from, reads what we write, and we read what it writes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import batches
import numpy as np
import pytest

from mgral.annotation import exchange, labels
from mgral.config.annotation import AnnotationRules
from mgral.core import plugins

PYTHON = Path(__file__).resolve().parents[2] / ".venv-datumaro/bin/python"
SCRIPT = Path(__file__).parent / "in_datumaro.py"


@pytest.mark.skipif(not PYTHON.exists(), reason="needs datumaro: `make env-annotation`")
@pytest.mark.parametrize("name", ["cvat", "yolo", "voc"])
def test_datumaro_reads_what_we_write_and_we_what_it_writes(name: str, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    rng = np.random.default_rng(0)
    drawn = {image.id: batches.some_boxes(image, rng, 3, whole=True) for image in batch.images}
    images = tuple(replace(image, predictions=batches.predicted(drawn[image.id])) for image in batch.images)
    tool = plugins.load("annotators", name)
    options = {} if name == "cvat" else {"predictions": True}
    tool.export(replace(batch, images=images), tmp_path / "ours", tool.Options.parse(options, "options"))

    command = [str(PYTHON), str(SCRIPT), name, str(tmp_path / "ours"), str(tmp_path / "theirs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert set(seen) == {Path(image.export_name).stem for image in batch.images}
    for image in batch.images:
        expected = sorted((box.label, *box.xyxy) for box in drawn[image.id])
        found = sorted(tuple(one) for one in seen[Path(image.export_name).stem])
        assert [one[0] for one in found] == [one[0] for one in expected]
        assert np.array([one[1:] for one in found]) == pytest.approx(np.array([one[1:] for one in expected]), abs=0.01)

    returned = tool.read(exchange.sources(tmp_path / "theirs"), batch, tool.Options())
    outcome = labels.settle(batch, [], [("theirs", returned)], batches.CLASSES, {}, AnnotationRules())
    for image in batch.images:
        back = outcome.images[image.id]
        assert back.state == "finished"  # nothing was predicted in this batch, so its boxes are people's
        found = sorted((batches.CLASSES[box.label], *box.xyxy) for box in back.boxes)
        expected = sorted((box.label, *box.xyxy) for box in drawn[image.id])
        assert [one[0] for one in found] == [one[0] for one in expected]
        assert np.array([one[1:] for one in found]) == pytest.approx(np.array([one[1:] for one in expected]), abs=0.01)
