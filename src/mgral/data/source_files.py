"""The files of a user's data set, as the workflow sees them: an edited annotation and a replaced image are noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgral.config.schema import DatasetParams

ANNOTATIONS = {".json", ".xml", ".txt", ".csv", ".yaml", ".yml"}


@dataclass(frozen=True)
class SourceFiles:
    """The files of a data set.

    Attributes:
        annotations: paths of its annotation files, normalised and sorted.
        listing: a hash over names and sizes in bytes of all its other files. There may be a hundred thousand images, so
            these are not read.
        roots: the folders and files that hold the annotations, for DVC: few, and as far down as can be.
    """

    annotations: list[str]
    listing: str
    roots: list[str]


def find(params: DatasetParams) -> SourceFiles:
    """All files below a data set's folder, and those that its options name elsewhere (``annotations: ../a.json``)."""
    root = Path(params.root or "")
    files = set(_below(root))
    annotations = {path for path in files if path.suffix.lower() in ANNOTATIONS}
    others = sorted((str(path.relative_to(root)), path.stat().st_size) for path in files - annotations)
    annotations |= {path for path in (root / text for text in _texts(params.options)) if path.is_file()}
    found = sorted({os.path.normpath(path) for path in annotations})
    return SourceFiles(found, hashlib.sha256(repr(others).encode()).hexdigest(), _roots(root, found))


def _below(root: Path) -> Iterator[Path]:
    """Files below a folder, links followed; a ring of links is walked once."""
    seen = {os.path.realpath(root)}
    for folder, below, names in os.walk(root, followlinks=True):
        yield from (path for path in (Path(folder, name) for name in names) if path.is_file())
        real = {name: os.path.realpath(Path(folder, name)) for name in below}
        below[:] = [name for name in below if real[name] not in seen]
        seen |= set(real.values())


def _texts(options: dict[str, Any]) -> Iterator[str]:
    """Texts among the values of some options and, where a value is a group, among its own values."""
    for value in options.values():
        for text in value.values() if isinstance(value, dict) else [value]:
            if isinstance(text, str):
                yield text


def _roots(root: Path, annotations: list[str]) -> list[str]:
    root = Path(os.path.normpath(root))
    places = set()
    for path in map(Path, annotations):
        below = path.relative_to(root).parts if path.is_relative_to(root) else ()
        places.add(root / below[0] if below else path)
    return sorted(map(str, places))
