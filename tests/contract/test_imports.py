"""Imports run one way: a room may look at the rooms below it and not at those above."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mgral

PACKAGE = Path(mgral.__file__).parent

# A room's own level; it imports from lower levels and, within a level, from itself alone.
LEVELS = {
    0: [
        "errors",
        "files",
        "seeds",
        "settings",
        "plugins",
        "types",
        "params",
        "experiments",
        "proxy_jobs",
        "boxes",
        "arrays",
        "codehash",
    ],
    1: [
        "datasets",
        "pools",
        "images",
        "records",
        "stratified",
        "spreads",
        "selections",
        "curves",
        "comparison",
        "forecast",
        "augment",
        "compute",
        "neighbours",
        "representations",
        "surrogates",
    ],
    2: ["lookup"],
    3: ["agent"],
    4: ["detectors"],
    5: ["backbone_features"],
    6: ["evaluation", "inference"],
    7: ["training"],
    8: ["strategies"],
    9: ["generators", "probe"],
    10: ["cli"],
}
SIDE = {
    "report": 1,
    "annotation": 1,
}  # see the ground, data sets, pools and what describes a run; nothing sees them but cli
ROOMS = {room: level for level, rooms in LEVELS.items() for room in rooms}


def imported(path: Path) -> set[str]:
    """Rooms that a module imports, at the top or inside a function."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            rooms |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in rooms if name.startswith("mgral.")}


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_run_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in ROOMS or room in SIDE, f"{room} has no place in the layout; give it a level"
    others = imported(path) - {room}
    if room in SIDE:
        wrong = {other for other in others if ROOMS.get(other, 99) > SIDE[room]}
    else:
        level = ROOMS[room]
        allowed_sides = set(SIDE) if room == "cli" else set()
        wrong = {o for o in others - allowed_sides if ROOMS.get(o, 99) > level or (ROOMS.get(o) == level and level > 1)}
    assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}"


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
