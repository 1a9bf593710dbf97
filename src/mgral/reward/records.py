"""Records of the lookup table as JSON: ``proxies/<k>.json`` holds one, ``added.json`` a list."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.core.types import RECORD_KINDS, Record


def as_json(record: Record) -> dict[str, Any]:
    """A record as a JSON object."""
    per_class = None if record.per_class is None else list(record.per_class)
    found = {**asdict(record), "ids": list(record.ids), "per_class": per_class}
    if record.split == 1:
        del found["split"]
    if record.vector is None:
        del found["vector"]  # as in a proxy's own file
    else:
        found["vector"] = list(record.vector)
    return found


def from_json(value: Any, where: str) -> Record:
    """A record from its JSON object.

    Args:
        value: what the file held.
        where: the file, for the message.

    Raises:
        MgralError: a key is missing or of the wrong kind.
    """
    try:
        if (
            not isinstance(value, Mapping)
            or not isinstance(value["generator"], str)
            or value["kind"] not in RECORD_KINDS
        ):
            raise TypeError
        ids, cycle = tuple(sorted(map(_whole, value["ids"]))), _whole(value["cycle"])
        if len(set(ids)) < len(ids) or not isinstance(stopped := value["stopped"], bool):
            raise ValueError
        mAP, seconds = _number(value["mAP"]), _number(value["seconds"])
        partway = None if value["partway"] is None else _number(value["partway"])
        per_class = _per_class(value.get("per_class"))
        vector = None if value.get("vector") is None else tuple(map(_number, value["vector"]))
        if (split := _whole(value.get("split", 1))) < 1:
            raise ValueError
        rest = (partway, stopped, per_class, vector, split)
        return Record(ids, value["generator"], mAP, seconds, value["kind"], cycle, *rest)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MgralError(
            f"{where}: not a record (ids, generator, mAP, seconds, kind, cycle, partway, stopped); "
            "run `mgral proxy` again"
        ) from None


def _per_class(value: Any) -> tuple[float | None, ...] | None:
    """AP by class; records of earlier versions have none. Raises TypeError or ValueError."""
    return None if value is None else tuple(None if one is None else _number(one) for one in value)


def _whole(value: Any) -> int:
    """An id or a cycle. Raises ValueError for text, fractions, truth values, and numbers below 0."""
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    """A finite number. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def write(record: Record, path: str | Path) -> None:
    """Write one record."""
    write_json(path, as_json(record))


def read(path: str | Path) -> Record:
    """Read one record. Raises MgralError if the file holds none."""
    return from_json(read_json(path), str(path))


def read_list(path: str | Path) -> list[Record]:
    """Read ``added.json``. Raises MgralError if it holds no list of records."""
    values = read_json(path)
    if not isinstance(values, list):
        raise MgralError(f"{path}: not a list of records; run `mgral search` again")
    return [from_json(value, str(path)) for value in values]


def references(found: Iterable[Record]) -> dict[tuple[int, str, int], float]:
    """The mAP that records of each cycle, kind and split are compared with: the mean over their random batches.

    Cycles, kinds and splits differ in level: more images are labelled in a later cycle, fewer of them are given to
    replay proxies, and each split holds out others. All records of one cycle, kind and split share seed and initial
    weights, hence also what chance adds to them, and a difference is free of both. The mean of several random batches
    is less noisy than any one of them.

    Raises:
        MgralError: of those of a cycle, kind and split none is random.
    """
    random: dict[tuple[int, str, int], list[float]] = {}
    for record in found:
        levels = random.setdefault(record.peers, [])
        if record.generator == "random":
            levels.append(record.mAP)
    for (cycle, kind, split), levels in random.items():
        if not levels:
            where = f"cycle {cycle}" if split == 1 else f"cycle {cycle}, split {split}"
            raise MgralError(
                f"no {kind} record of {where} is of a random batch, to compare others with; draw batches again"
            )
    return {key: math.fsum(levels) / len(levels) for key, levels in sorted(random.items())}
