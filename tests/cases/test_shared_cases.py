"""Inputs from the field, each with its right behaviour: shared.yaml holds one line a folder of shared/cases."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import field_cases
import pytest
import yaml

HERE = Path(__file__).parent
TABLE = field_cases.table(HERE / "shared.yaml")
CASES = Path(os.environ.get("MGRAL_CASES", HERE.parents[1] / "../shared/cases"))

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


def group(copy: Path) -> dict[str, Any]:
    """The group ``dataset`` of a case, its root made absolute."""
    given: dict[str, Any] = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))["dataset"]
    root = given["root"] if given["root"].startswith("~") else str(copy / given["root"])
    return {**given, "root": root}


@needs_cases
def test_every_case_has_a_line() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == set(TABLE)


@needs_cases
@pytest.mark.parametrize("name", TABLE)
def test_case(name: str, tmp_path: Path) -> None:
    expected = TABLE[name]
    given, out = group(lay(CASES / name, tmp_path)), tmp_path / "dataset.json"
    field_cases.check(given, {}, expected, out)
    if "with" in expected:
        field_cases.check(given, expected["with"], expected["then"], out)
    if "drop" in expected:
        field_cases.check(given, {"on_invalid": "drop"}, expected["drop"], out)
