"""What was imported is said in one line, alike at the end of the import, by ``mgral show`` and in the report."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import field_cases
import pytest
import yaml

from mgral import cli
from mgral.core.run_layout import RUN
from mgral.report import sections

CASE = {
    "set": "coco",
    "edits": [
        {"image": {"images/p09.jpg": {}, "more/p10.jpg": {}}},
        {"write": {"images/a.heic": "x", "images/b.tif": "no image"}},
        {"json": {"annotations.0.bbox": [50, 6, 40, 18], "annotations.1.iscrowd": 1, "images.2.annotated": "no"}},
        {"json": {"annotations.2.image_id": 4, "annotations.2.bbox": [30, 6, 10.5, 42.5]}},
    ],
}
LINE = (
    r"8 images \(train 4, val 2, test 2\); 8 boxes of 2 classes \(train \d \(\d ignored\), val \d \(\d ignored\), "
    r"test \d \(\d ignored\)\); 0 without objects; 1 unannotated; 2 unlisted; 1 dropped; 1 clipped; "
    r"passed over: 1 \.heic"
)


def test_import_show_and_report_agree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    given = field_cases.made(CASE, tmp_path) | {"on_invalid": "drop", "splits": {"val": 0.3, "test": 0.3, "seed": 0}}
    run = tmp_path / "run"
    params, out = tmp_path / "params.yaml", run / RUN.dataset
    params.write_text(yaml.safe_dump({"dataset": given, "budget": {"initial": 3, "batch": 2}, "cycles": 3}))
    with caplog.at_level(logging.INFO):
        assert cli.main(["import", "--params", str(params), "--out", str(out)]) == 0
    counts = next(message for message in caplog.messages if " images (train" in message)
    assert re.fullmatch(LINE, counts), counts
    assert cli.main(["show", str(out)]) == 0
    assert counts in capsys.readouterr().out
    assert sections.left_out(run)["imported"] == counts
    notes = [message for message in caplog.messages if message.startswith("note: ")]
    assert any("more/p10.jpg" in note for note in notes)
    assert {note.removeprefix("note: ") for note in notes} <= set(sections.left_out(run)["notes"])
    # 3 images and 2 batches of 2 are 7, and train has 4
    assert any("need 7 images, but train has 4" in message for message in caplog.messages)
