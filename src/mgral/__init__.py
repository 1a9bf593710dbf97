"""mgral: which images should we annotate next?

The names below are the package's public ones, and stable: they change with a new major version only. So are the command
line, the parameter files, the files of a run and the contracts of plug-ins. All other modules may change at any time.

A name is imported when it is first used, so ``import mgral`` loads neither NumPy nor torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {  # name: its module; __init__.pyi says the same to type checkers and editors
    "Boxes": "mgral.core.types",
    "Dataset": "mgral.core.types",
    "Detections": "mgral.core.types",
    "Embeddings": "mgral.core.types",
    "Evidence": "mgral.data.evidence",
    "Image": "mgral.core.types",
    "MgralError": "mgral.core.errors",
    "Pick": "mgral.core.types",
    "Pool": "mgral.data.pool",
    "Selection": "mgral.data.selection",
    "read_dataset": "mgral.data.dataset_json:read",
    "read_detections": "mgral.detection.detections_file:read",
    "read_embeddings": "mgral.detection.npz_files",
    "read_pool": "mgral.data.pool",
    "read_selection": "mgral.data.selection",
    "select": "mgral.strategies._contract",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mgral' has no attribute {name!r}")
    module, _, inner = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), inner or name)


def __dir__() -> list[str]:
    return __all__
