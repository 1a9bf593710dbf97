"""What the report says to people who label: gain, budget, the next batch, and when to stop."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import batches
import pytest
import yaml

from mgral.annotation import exchange, labels
from mgral.annotation.box_rules import LabelBox
from mgral.annotation.exchange import Batch, Plan
from mgral.annotation.labels import Outcome, Settled
from mgral.config.schema import Params
from mgral.core.files import write_json
from mgral.core.types import Dataset, Image, Pick
from mgral.data import dataset_json
from mgral.data.selection import Selection, write_selection
from mgral.report import comparison, learning_curves, sections
from mgral.report.learning_curves import cycle_folder

BASE = Path(__file__).resolve().parents[3] / "params" / "base.yaml"


@pytest.fixture
def params() -> Params:
    base = yaml.safe_load(BASE.read_text())
    given = {
        "cycles": 2,
        "seeds": [0],
        "strategies": ["entropy"],
        "oracle": "people",
        "budget": {"initial": "all", "batch": 4, "unit": "boxes", "amount": 10},
        "dataset": {**base["dataset"], "format": "folder", "root": "set"},
    }
    return Params.parse(base | given, "test:")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one cycle and a batch that people answered; the next batch, of two images, waits."""
    folder = tmp_path / "run"
    found = batches.images(tmp_path / "set")
    images = {im.id: Image(im.id, im.file_name, im.width, im.height, "train") for im in found}
    dataset = Dataset(batches.CLASSES, images, {}, tmp_path / "set")
    info: dict[str, Any] = {"dropped": [], "clipped": 0, "unlisted": []}
    for cycle, level in enumerate((0.2, 0.3)):
        here = Path(cycle_folder(folder, "entropy", 0, cycle))
        scores = {"mAP": level, "AP50": level, "per_class": dict.fromkeys(batches.CLASSES, level)}
        head = {"cycle": cycle, "images": 10 + 2 * cycle, "boxes": 20}
        write_json(here / "metrics.json", {**head, "val": scores, "test": scores})
        asked = found[2 * cycle : 2 * cycle + 2]
        picks = [Pick(im.id, 1.0) for im in asked]
        write_selection(Selection("entropy", "entropy", 0, cycle, 2, picks), dataset, here / "selected.json")
        plan = Plan("boxes", 10.0, 0.0 if cycle == 0 else 7.0, 9.0, 6.0, 12.0, (2, 2))
        batch = Batch("mine", cycle, batches.CLASSES, tmp_path / "set", tuple(asked), plan)
        exchange.write_batch(batch, here / "batch/manifest.json")
        if cycle == 0:
            dataset_json.write(dataset, info, folder / "dataset/dataset.json")
            box = LabelBox(0, (1.0, 2.0, 20.0, 21.0), False, "manual")
            people = ({"who": "1", "at": "", "seconds": 90.0, "tool": "cvat", "version": "", "file": "001"},)
            done = Settled(1, True, "finished", (box,) * 3, people)
            outcome = Outcome({1: done, 2: Settled(2, True, "skipped")}, {})
            after = Path(cycle_folder(folder, "entropy", 0, 1))
            labels.write(batch, outcome, after / "labels.json")
            dataset = labels.apply(dataset, outcome, batches.CLASSES)
            dataset_json.write(dataset, info, after / "dataset.json")
    frame = learning_curves.collect(folder, ["entropy"], [0], 2)
    comparison.write(comparison.compare(frame, None, ["entropy"], None), folder / "comparison.json")
    return folder


def text_of(run: Path, params: Params) -> str:
    sections.build(run, params, run / "report.html", run / "figures")
    page = (run / "report.html").read_text()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_what_a_batch_brought_and_what_is_asked_next(run: Path, params: Params) -> None:
    page = text_of(run, params)
    assert (
        "The last batch of 2 images changed test mAP from 0.200 to 0.300 (+0.100; how much of it is chance is" in page
    )
    asked = exchange.read_batch(Path(cycle_folder(run, "entropy", 0, 1)) / "batch/manifest.json")
    assert f"Asked next: batch {asked.id}" in page
    assert "2 picks my photo (1) é.png not annotated" in page
    assert (run / "figures/curve_minutes.png").exists()
    assert "When to stop" not in page


@pytest.mark.usefixtures("unrendered")
def test_planned_and_spent(run: Path, params: Params) -> None:
    """Planned 10 boxes; 3 came in 1.5 minutes, of one image of two; 7 are left for the next batch."""
    page = text_of(run, params)
    assert "entropy 0 2 1 3 1.5 10 boxes 9 (6 to 12) +7" in page
    assert "entropy 1 2 – – – 17 boxes 9 (6 to 12) –" in page


@pytest.mark.usefixtures("unrendered")
def test_chance_and_when_to_stop(run: Path, params: Params) -> None:
    mAP = {"mean": 0.3, "deviation": 0.02, "values": [0.28, 0.32]}
    write_json(run / "noise.json", {"images": 12, "repeats": 5, "mAP": mAP, "AP50": mAP})
    gain = {"images": 200, "gain": 0.03, "low": 0.01, "high": 0.05}
    write_json(run / "stopping.json", {"points": [[3, 0.1], [6, 0.2], [12, 0.3]], "deviation": 0.02, "gains": [gain]})
    page = text_of(run, params)
    # the 97.5 % quantile of t with 4 degrees of freedom: 2.7764 · √2 · 0.02 = 0.0785
    assert "(+0.100; 95 % interval +0.021 to +0.179, which is more than chance)" in page
    write_json(run / "noise.json", {"images": 12, "repeats": 3, "mAP": mAP, "AP50": mAP})  # 4.3027: 0.122
    assert "(+0.100; 95 % interval −0.022 to +0.222, which is within chance)" in text_of(run, params)
    assert "When to stop Another 200 images are expected to bring +0.030 mAP (90 % interval +0.010 to +0.050)." in page


@pytest.mark.usefixtures("unrendered")
def test_a_run_that_nobody_answers_has_no_such_section(run: Path, params: Params) -> None:
    oracle = params.oracle.model_copy(update={"kind": "dataset"})
    assert "Your labels" not in text_of(run, params.model_copy(update={"oracle": oracle}))
