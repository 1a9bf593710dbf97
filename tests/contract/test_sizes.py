"""A module and a function are small enough to be read at once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
LINES_OF_FUNCTION = 60
LINES_OF_MODULE = 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    lengths = {f"{one.name}, line {one.lineno}": (one.end_lineno or 0) - one.lineno + 1 for one in functions}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_FUNCTION} == {}


def test_modules_are_short() -> None:
    files = [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").glob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_MODULE} == {}


def test_files_of_tests_have_names_of_their_own() -> None:
    """Of two with one name, pytest collects the first and fails at the second."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
