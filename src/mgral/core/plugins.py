"""Plug-ins: a strategy, detector, format or annotator is one file, found by its name.

Each kind is a package and each plug-in a public module in it. A module whose name starts with an underscore
is a helper and no plug-in. Nothing is registered: putting the file there is enough.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from mgral.core.errors import MgralError, nearest

PACKAGES = {
    "strategies": "mgral.strategies",
    "detectors": "mgral.detection.detectors",
    "formats": "mgral.data.formats",
    "semi": "mgral.reward.semi",
    "annotators": "mgral.annotation.tools",
}


def names(kind: str) -> list[str]:
    """The names of all plug-ins of a kind, sorted.

    Raises:
        MgralError: unknown kind.
    """
    if kind not in PACKAGES:
        raise MgralError(f"unknown kind of plug-in '{kind}'; {nearest(kind, PACKAGES)}")
    package = importlib.import_module(PACKAGES[kind])
    found = pkgutil.iter_modules(package.__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def load(kind: str, name: str) -> ModuleType:
    """The module of one plug-in.

    Raises:
        MgralError: no plug-in of that name; says which name is nearest.
    """
    available = names(kind)
    if name not in available:
        raise MgralError(f"unknown name '{name}' in {kind}; {nearest(name, available)}")
    return importlib.import_module(f"{PACKAGES[kind]}.{name}")
