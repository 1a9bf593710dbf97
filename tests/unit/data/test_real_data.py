"""Real data: blood cells (BCCD) with two boxes that have no area, and a part of PASCAL VOC 2007."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.core.types import Dataset
from mgral.data import dataset_json, importing

RealData = Callable[[str], Path]

pytestmark = pytest.mark.slow


def params(root: Path, on_invalid: str) -> DatasetParams:
    splits = {"val": 0.2, "test": 0.3, "seed": 0}
    given = {"format": "voc", "root": str(root), "options": {}, "on_invalid": on_invalid, "splits": splits}
    return DatasetParams.parse(given, "dataset")


def counts(dataset: Dataset) -> Counter[str]:
    return Counter(dataset.classes[label] for boxes in dataset.boxes.values() for label in boxes.labels.tolist())


def sizes(dataset: Dataset) -> list[int]:
    return [len(dataset.ids(split)) for split in ("train", "val", "test")]


def test_bccd_ends_at_a_box_without_area(real_data: RealData) -> None:
    with pytest.raises(MgralError, match=r"BloodImage_00(338|343)\.xml: object \d+: box .* has no area.*drop"):
        importing.import_dataset(params(real_data("bccd"), "fail"))


def test_bccd_without_the_two_boxes_that_have_no_area(real_data: RealData) -> None:
    dataset, info = importing.import_dataset(params(real_data("bccd"), "drop"))
    dropped = {entry["file"]: entry["what"] for entry in info["dropped"]}
    assert dropped == {
        "Annotations/BloodImage_00338.xml": "box (504, 337, 504, 337) has no area",
        "Annotations/BloodImage_00343.xml": "box (181, 329, 181, 329) has no area",
    }
    assert len(dataset.images) == 364
    assert sizes(dataset) == [205, 87, 72]
    assert counts(dataset) == {"RBC": 4155 - 2, "WBC": 372, "Platelets": 361}
    assert info["splits_drawn"] == []


def test_voc2007(real_data: RealData, tmp_path: Path) -> None:
    dataset, info = importing.import_dataset(params(real_data("voc2007"), "fail"))
    assert len(dataset.images) == 2750
    assert sizes(dataset) == [2000, 250, 500]
    assert len(dataset.classes) == 20
    assert counts(dataset).total() == 8292
    assert (info["dropped"], info["ids"]) == ([], "own")
    # 000004.xml: the first car at xmin 8.68, ymin 199.52, xmax 53.76, ymax 231.82
    assert dataset.boxes[4].xyxy[0].tolist() == pytest.approx([7.68, 198.52, 53.76, 231.82], abs=1e-4)
    dataset_json.write(dataset, info, tmp_path / "dataset.json")
    assert dataset_json.read(tmp_path / "dataset.json").images == dataset.images
