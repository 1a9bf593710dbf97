"""Whether a data set suffices for an experiment: refusals from the number on at which a run must fail, and doubts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from mgral import cli
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import fitness


def asked(initial: int | str = 10, batch: int = 5, cycles: int = 3, **more: Any) -> fitness.Params:
    budget = {"initial": initial, "batch": batch, **more.pop("budget", {})}
    return fitness.Params.parse({"budget": budget, "cycles": cycles, **more}, "test:")


def dataset(train: int, bare: int = 0, ignored: str = "", dogs: bool = True) -> Dataset:
    """``train`` images, the last ``bare`` of them not annotated, and 2 of val and of test; a cat and a dog on each."""
    images, truth = {}, {}
    for i in range(1, train + 5):
        split = "train" if i <= train else "val" if i <= train + 2 else "test"
        images[i] = Image(i, f"{i}.jpg", 40, 40, split)  # type: ignore[arg-type]
        labels = np.array([0, 1] if dogs or split == "train" else [0, 0], np.int64)
        boxes = np.array([[0, 0, 9, 9], [9, 9, 20, 20]], np.float32)
        if not train - bare < i <= train:
            truth[i] = Boxes(boxes, labels, np.full(2, split == ignored))
    return Dataset(("cat", "dog"), images, truth, Path("set"))


@pytest.mark.parametrize(
    ("images", "more", "refused"),
    [
        (15, {}, True),  # 10 and 5 leave nothing for the second batch
        (16, {}, False),  # which may be smaller
        (15, {"cycles": 2}, False),
        (10, {"cycles": 2}, True),
        (10, {"cycles": 1}, False),
        (15, {"initial": "all"}, False),
        (15, {"oracle": "people"}, False),  # images may join
        (15, {"oracle": "simulated"}, True),
        (15, {"budget": {"unit": "boxes", "amount": 9}}, False),
    ],
)
def test_a_batch_that_would_be_empty_is_refused(images: int, more: dict[str, Any], refused: bool) -> None:
    for found in (fitness.exhausted(images, asked(**more)), fitness.unfit(dataset(images), asked(**more))):
        assert bool(found) == refused
        assert not refused or f"images, but train has {images}; lower the budget or cycles" in found


@pytest.mark.parametrize(
    ("data", "more", "says"),
    [
        ({"train": 30}, {}, ""),
        ({"train": 30, "bare": 10}, {}, ""),  # 20 are annotated, and 20 are labelled
        ({"train": 30, "bare": 11}, {}, "the run labels 20 images of train, of which 19 are annotated"),
        ({"train": 30, "bare": 11}, {"oracle": "people"}, ""),
        ({"train": 30, "bare": 21}, {"oracle": "people"}, "9 annotated images .* budget.initial asks for 10"),
        ({"train": 30, "ignored": "test"}, {}, "no object in the 2 annotated images of test"),
        ({"train": 30, "ignored": "val"}, {}, "no object in the 2 annotated images of val"),
    ],
)
def test_what_a_run_must_fail_on(data: dict[str, Any], more: dict[str, Any], says: str) -> None:
    found = fitness.unfit(dataset(**data), asked(**more))
    assert re.search(says, found) if says else not found


def test_doubts_are_about_the_last_batch_unannotated_images_and_classes() -> None:
    assert fitness.doubts(dataset(20), asked()) == []
    (short,) = fitness.doubts(dataset(19), asked())
    assert "2 batches of 5 need 20 images, but train has 19" in short
    (bare,) = fitness.doubts(dataset(30, bare=2), asked())
    assert "2 images of train are not annotated, 29.jpg first" in bare
    assert fitness.doubts(dataset(30, bare=2), asked(oracle="people")) == []
    val, test = fitness.doubts(dataset(30, dogs=False), asked())
    assert val.startswith("val: no boxes of dog: such a class has no AP") and test.startswith("test: no boxes of dog")
    assert fitness.doubts(dataset(30, ignored="train"), asked())[0].startswith("train: no boxes of cat, dog")


@pytest.mark.parametrize(("cycles", "code"), [(2, 0), (4, 2)])
def test_the_import_refuses_data_that_the_experiment_must_fail_on(
    cycles: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    images = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(1, 11)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 9, 9]} for i in range(1, 11)]
    for i in range(1, 11):
        Picture.new("RGB", (40, 30), (i, 0, 0)).save(tmp_path / f"{i}.png")
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    given = {"format": "coco", "root": str(tmp_path), "on_invalid": "fail", "options": {"images": "."}}
    given["splits"] = {"val": 0.2, "test": 0.2, "seed": 0}
    (tmp_path / "p.json").write_text(json.dumps({"dataset": given}))
    (tmp_path / "e.json").write_text(json.dumps({"budget": {"initial": 2, "batch": 2}, "cycles": cycles}))
    out = tmp_path / "dataset.json"
    command = ["import", "--params", str(tmp_path / "p.json"), "--experiment", str(tmp_path / "e.json")]
    caplog.set_level("INFO")
    assert cli.main([*command, "--out", str(out)]) == code
    assert out.exists() == (code == 0)
    if code:
        says = "budget.initial 2 and 3 batches of 2 need 8 images, but train has 6; lower the budget or cycles"
        assert capsys.readouterr().err == f"mgral: {tmp_path}: {says}\n"
    else:
        assert "warning: train: no boxes of b: such a class cannot be learnt" in caplog.text
