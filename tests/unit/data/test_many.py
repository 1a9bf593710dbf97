"""Many classes and keys: the calls of functions are counted, which grow with the number and not with its square."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from mgral.config import loading
from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.core.files import read_json
from mgral.data import coco_objects, dataset_json, importing, stratified_split
from mgral.data.faults import Findings
from mgral.planning.run_plan import RunPlan

ROOT = Path(__file__).resolve().parents[3]


def calls(run: Callable[[], Any]) -> int:
    """How many functions are called, those of Python itself among them."""
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def splits(count: int) -> Callable[[], Any]:
    chance = random.Random(0)
    labels = {i: {chance.randrange(count) for _ in range(3)} for i in range(count)}
    return lambda: stratified_split.draw(labels, {"val": 0.2, "test": 0.2}, "train", 0)


def categories(count: int) -> Callable[[], Any]:
    entries = [{"id": i, "name": f"class {i}"} for i in range(count)]
    return lambda: coco_objects.categories("a.json", entries, Findings(Path()))


@pytest.mark.parametrize("make", [splits, categories])
def test_calls_grow_with_the_number_and_not_with_its_square(make: Callable[[int], Callable[[], Any]]) -> None:
    assert calls(make(4_000)) < 16 * calls(make(500))  # 8 times as many; 64 for the square


def seconds(run: Callable[[], Any]) -> float:
    """Processor time, the least of three."""
    found = []
    for _ in range(3):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return min(found)


def experiment(count: int) -> Callable[[], Any]:
    """Check an experiment of so many seeds, and plan its run."""
    given = loading.read_yaml(ROOT / "params/base.yaml")
    given["seeds"] = list(range(2000, 2000 + count))

    def run() -> None:
        plan = RunPlan(loading.check(given, "params"))
        assert len(plan.experiment.seeds) == count
        list(plan.result_files()), list(plan.tracked_cycles())
        json.dumps(plan.parameters())

    return run


@pytest.mark.slow
def test_eight_thousand_seeds_take_eight_times_as_long_as_one_thousand() -> None:
    assert seconds(experiment(8_000)) < 24 * seconds(experiment(1_000)) + 0.2  # 64 times for the square


@pytest.mark.slow
def test_sixty_thousand_categories_are_imported_and_read_again(tmp_path: Path) -> None:
    """The square of so many takes minutes, whatever it is that is done with them."""
    count, images = 60_000, 20
    (tmp_path / "images").mkdir()
    for i in range(1, images + 1):
        Picture.new("RGB", (64, 48), (i, 0, 0)).save(tmp_path / f"images/{i}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(1, images + 1)],
        "annotations": [
            {"id": k, "image_id": k % images + 1, "category_id": 1 + 7919 * k % count, "bbox": [k % 30, 2, 20, 9]}
            for k in range(1, 1001)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, count + 1)],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    given = {"format": "coco", "root": str(tmp_path), "on_invalid": "fail", "options": {}}
    params = DatasetParams.parse({**given, "splits": {"val": 0.2, "test": 0.2, "seed": 0}}, "")

    def run() -> None:
        dataset, info = importing.import_dataset(params)
        dataset_json.write(dataset, info, tmp_path / "dataset.json")
        again = dataset_json.read(tmp_path / "dataset.json")
        assert again.classes == dataset.classes and len(again.classes) == count
        assert importing.summary(dataset, info)

    started = time.process_time()
    run()
    assert time.process_time() - started < 15


def test_a_key_that_occurs_twice_among_many(tmp_path: Path) -> None:
    keys = ", ".join(f'"{i}": 0' for i in range(60_000))
    (tmp_path / "a.json").write_text(f'{{{keys}, "59999": 1}}')
    with pytest.raises(MgralError, match="'59999' occurs twice"):
        read_json(tmp_path / "a.json")
