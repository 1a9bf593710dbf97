"""Imports run one way: a room sees the rooms below it, never those above or beside it, and no circle closes."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mgral

PACKAGE = Path(mgral.__file__).parent

# From the ground up. A room imports from those on lower lines and from itself.
LEVELS = [
    ["core"],
    ["config"],
    ["data"],
    ["detection"],
    ["reward", "annotation"],
    ["agent", "report"],
    ["strategies"],
    ["planning"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports, at the top, inside a function or for its types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return names & MODULES.keys()


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", [name for name in MODULES if name != "mgral"])
def test_arrows_run_one_way(module: str) -> None:
    own = room(module)
    assert own in LEVEL, f"{own} has no place in the layout; give it a level"
    others = {room(name) for name in imported(MODULES[module])} - {own, ""}
    wrong = sorted(other for other in others if LEVEL.get(other, len(LEVELS)) >= LEVEL[own])
    assert not wrong, f"{module} imports {wrong}"


def test_no_circle_closes() -> None:
    """Between single modules, wherever they import each other."""
    graph = {name: imported(path) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["pool", "annotate", "curve"])
def test_light_steps_do_not_load_torch(verb):
    """A step that trains nothing starts in a fraction of a second."""
    import subprocess
    import sys

    code = (
        "import sys, contextlib; from mgral import cli\n"
        f"with contextlib.suppress(SystemExit): cli.main(['{verb}', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
