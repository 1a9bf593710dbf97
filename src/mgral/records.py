"""Records of the lookup table as JSON: ``proxies/<k>.json`` holds one, ``added.json`` a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mgral.errors import MgralError
from mgral.files import read_json, write_json
from mgral.types import Record


def as_json(record: Record) -> dict[str, Any]:
    """A record as a JSON object."""
    return {**asdict(record), "ids": list(record.ids)}


def from_json(value: Any, where: str) -> Record:
    """A record from its JSON object.

    Args:
        value: what the file held.
        where: the file, for the message.

    Raises:
        MgralError: a key is missing or of the wrong kind.
    """
    try:
        if not isinstance(value, Mapping) or not isinstance(value["generator"], str):
            raise TypeError
        ids = tuple(sorted(int(i) for i in value["ids"]))
        return Record(ids, value["generator"], float(value["mAP"]), float(value["seconds"]))
    except (KeyError, TypeError, ValueError):
        raise MgralError(
            f"{where}: not a record (ids, generator, mAP, seconds); make it anew with `mgral proxy`"
        ) from None


def write(record: Record, path: str | Path) -> None:
    """Write one record."""
    write_json(path, as_json(record))


def read(path: str | Path) -> Record:
    """Read one record. Raises MgralError if the file holds none."""
    return from_json(read_json(path), str(path))
