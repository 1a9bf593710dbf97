"""Hashes of code that an earlier start of the workflow has found, kept for as long as no file of the package changes.

To parse a hundred and eighty modules takes a fifth of a start. Each hash follows from the content of the files, so that
is what they are kept by: not by times, which a clone, a copy or a fast edit may leave as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mgral.core import code_hash
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_bytes

FILE = Path(".snakemake/code.json")


class KnownHashes:
    """Hashes of a package that lies in a folder of its own; of one that is installed beside others none is kept.

    Args:
        file: what is kept.
        source: the folder that holds the package.
    """

    def __init__(self, file: Path = FILE, source: Path = code_hash.SOURCE) -> None:
        self._file = file
        self._source = source
        self._snapshot = code_hash.Snapshot(source)
        self._times = _times(source)
        self._content = content(source)
        self._hashes = self._kept()

    def code_hash(self, *modules: str) -> str:
        """As :func:`mgral.core.code_hash.code_hash`."""
        key = " ".join(sorted(modules))
        if key not in self._hashes:
            self._hashes[key] = self._snapshot.code_hash(*modules)
            self._keep()
        return self._hashes[key]

    def _kept(self) -> dict[str, str]:
        """What was kept of these very files; a damaged file counts as none."""
        kept: Any = None
        with suppress(MgralError):
            kept = read_json(self._file) if self._file.is_file() else None
        hashes = kept.get("hashes") if isinstance(kept, dict) and kept.get("content") == self._content else None
        return dict(hashes) if isinstance(hashes, dict) and self._content is not None else {}

    def _keep(self) -> None:
        """Keep all hashes, unless a file was edited while they were found; without room for them, find them again."""
        if self._content is None or _times(self._source) != self._times:
            return
        kept = {"content": self._content, "hashes": self._hashes}
        with suppress(MgralError):
            write_bytes(self._file, json.dumps(kept, sort_keys=True, indent=1).encode())


def content(source: Path) -> str | None:
    """A hash of names and content of all files of the only package in a folder; None where it is not the only one."""
    names = [path.name for path in source.iterdir() if path.name != "__pycache__"]
    if len([name for name in names if name.removesuffix(".py").isidentifier()]) != 1:
        return None
    digest = hashlib.sha256(sys.version.encode())
    for entry in _files(source):
        found = Path(entry).read_bytes()
        digest.update(f"{os.path.relpath(entry, source)}\n{len(found)}\n".encode() + found)
    return digest.hexdigest()


def _times(source: Path) -> list[tuple[str, int, int, int]]:
    """What changes at once when a file is written: both of its times, and its size."""
    found = [(entry.path, entry.stat()) for entry in _files(source)]
    return [(path, state.st_mtime_ns, state.st_ctime_ns, state.st_size) for path, state in found]


def _files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """The files below a folder, in an order that does not change; none that Python or an editor put there."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name == "__pycache__" or entry.name.startswith(".") or entry.name.endswith(".egg-info"):
                continue
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.is_file():
                yield entry
