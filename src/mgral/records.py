"""proxies/<k>.json: one record, as the proxy run wrote it."""

from __future__ import annotations

from pathlib import Path

from mgral.errors import MgralError
from mgral.files import read_json, write_json
from mgral.types import Record


def as_json(record: Record) -> dict[str, object]:
    """A record as the JSON object of its file."""
    return {
        "ids": list(record.ids),
        "generator": record.generator,
        "mAP": record.mAP,
        "seconds": record.seconds,
    }


def write(record: Record, path: str | Path) -> None:
    """Write one record."""
    write_json(path, as_json(record))


def read(path: str | Path) -> Record:
    """Read one record. Raises MgralError if the file holds none."""
    data = read_json(path)
    try:
        ids = tuple(sorted(int(i) for i in data["ids"]))
        return Record(ids, str(data["generator"]), float(data["mAP"]), float(data["seconds"]))
    except (KeyError, TypeError, ValueError):
        raise MgralError(
            f"{path}: not a record (ids, generator, mAP, seconds); make it with `mgral proxy`"
        ) from None
