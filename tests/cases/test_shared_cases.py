"""Inputs from the field, each with its right behaviour: shared.yaml holds one line a folder of shared/cases."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.core.types import Dataset
from mgral.data import dataset_json, importing

HERE = Path(__file__).parent
TABLE: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "shared.yaml").read_text(encoding="utf-8"))
CASES = Path(os.environ.get("MGRAL_CASES", HERE.parents[1] / "../shared/cases"))
SPLITS = {"val": 0.2, "test": 0.2, "seed": 0}

needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} does not exist; set MGRAL_CASES to the cases")


def lay(case: Path, folder: Path) -> Path:
    """A copy of a case, with its paths filled in and its links, which it keeps as text, made links."""
    copy = folder / case.name
    shutil.copytree(case, copy, symlinks=True)
    for path in sorted(copy.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 100_000:
            continue
        content = path.read_bytes()
        filled = content.replace(b"@ROOT@", str(copy / "data").encode()).replace(b"@CASE@", str(copy).encode())
        if content != filled:
            path.write_bytes(filled)
        if re.fullmatch(rb"(\.\./)+[\w./-]+", content) and (path.parent / content.decode()).exists():
            path.unlink()
            path.symlink_to(content.decode())
    return copy


def imported(copy: Path, changes: dict[str, Any]) -> tuple[Dataset, dict[str, Any], str]:
    """The data set, its info and all that the import says about it."""
    given = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))["dataset"]
    root = given["root"] if given["root"].startswith("~") else str(copy / given["root"])
    given = {**given, "root": root, **{k: v for k, v in changes.items() if k not in {"splits", "options"}}}
    given["options"] = {**given["options"], **changes.get("options", {})}
    given["splits"] = {**SPLITS, **changes.get("splits", {})}
    dataset, info = importing.import_dataset(DatasetParams.parse(given, "dataset"))
    return dataset, info, "\n".join(importing.summary(dataset, info))


def check(copy: Path, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    if "refuse" in expected:
        with pytest.raises(MgralError) as caught:
            imported(copy, changes)
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        for pattern in expected["refuse"]:
            assert re.search(pattern, message), message
        return
    dataset, info, said = imported(copy, changes)
    out = copy.parent / "dataset.json"
    dataset_json.write(dataset, info, out)
    assert list(dataset_json.read(out).images) == list(dataset.images)
    boxes = list(dataset.boxes.values())
    found = {
        "images": len(dataset.images),
        "boxes": sum(map(len, boxes)),
        "ignored": sum(int(item.ignore.sum()) for item in boxes),
        "unannotated": len(dataset.images) - len(boxes),
        "classes": len(dataset.classes),
        "size": [dataset.images[min(dataset.images)].width, dataset.images[min(dataset.images)].height],
    }
    assert found == {**found, **{key: value for key, value in expected.items() if key in found}}, said
    for pattern in expected.get("says", []):
        assert re.search(pattern, said), said
    if "apart" in expected:
        groups: dict[str, set[str]] = {}
        for image in dataset.images.values():
            group = re.search(expected["apart"], image.file_name)
            assert group
            groups.setdefault(group.group(1), set()).add(image.split)
        assert all(len(splits) == 1 for splits in groups.values())


@needs_cases
def test_every_case_has_a_line() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == set(TABLE)


@needs_cases
@pytest.mark.parametrize("name", TABLE)
def test_case(name: str, tmp_path: Path) -> None:
    expected = TABLE[name]
    copy = lay(CASES / name, tmp_path)
    check(copy, {}, expected)
    if "with" in expected:
        check(copy, expected["with"], expected["then"])
    if "drop" in expected:
        check(copy, {"on_invalid": "drop"}, expected["drop"])
