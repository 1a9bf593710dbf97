"""Inputs like those of people, made here: own.yaml holds the edits of each and its right behaviour."""

from __future__ import annotations

from pathlib import Path

import field_cases
import pytest

TABLE = field_cases.table(Path(__file__).parent / "own.yaml")


@pytest.mark.parametrize("name", TABLE)
def test_case(name: str, tmp_path: Path) -> None:
    case = TABLE[name]
    given = field_cases.made(case, tmp_path)
    field_cases.check(given, case.get("with", {}), case["right"], tmp_path / "dataset.json")
    for number, (changes, expected) in enumerate(case.get("also", [])):
        merged = {**case.get("with", {}), **changes}
        field_cases.check(given, merged, expected, tmp_path / f"dataset{number}.json")


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo", "darknet", "folder"])
def test_the_sound_sets_are_sound(kind: str, tmp_path: Path) -> None:
    given = field_cases.made({"set": kind}, tmp_path)
    expected = {"images": 8, "boxes": 8, "ignored": 0, "unannotated": 0, "classes": 2, "box": [8, 6, 32, 24]}
    silent = [] if kind == "darknet" else ["note:"]  # its paths begin with data/, which is not there
    field_cases.check(given, {}, {**expected, "silent": silent}, tmp_path / "dataset.json")
