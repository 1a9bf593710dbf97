"""Makes the plug-ins of examples/plugins/ known beside the package's own: ``pytest -p example_plugins``."""

from __future__ import annotations

import importlib
from pathlib import Path

from mgral.core import plugins

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "plugins"

for kind, package in plugins.PACKAGES.items():
    if (FOLDER / kind).is_dir():
        importlib.import_module(package).__path__.append(str(FOLDER / kind))
