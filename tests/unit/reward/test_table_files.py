"""Files of a lookup table that were damaged or made elsewhere: one line, and no record that says something else."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Record
from mgral.reward import records, table_files

SOUND: dict[str, Any] = {
    "ids": [3, 5],
    "generator": "random",
    "mAP": 0.5,
    "seconds": 2.0,
    "kind": "unlabelled",
    "cycle": 0,
    "partway": None,
    "stopped": False,
    "reference": 0.4,
    "per_class": [0.4, None],
}


def parquet(path: Path, **columns: Any) -> Path:
    """A table of one record, with other columns than a sound one: values, or arrays of arrow; None takes one out."""
    found = {name: pa.array([value]) for name, value in SOUND.items()}
    for name, value in columns.items():
        found[name] = value if isinstance(value, pa.Array) else pa.array([value])
    pq.write_table(pa.table({name: column for name, column in found.items() if column is not None}), path)
    return path


def text(content: bytes, length: int | None = None) -> pa.Array:
    """One text that holds any bytes, as a damaged file does."""
    ends = pa.py_buffer((0).to_bytes(4, "little") + len(content).to_bytes(4, "little"))
    return pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(content)])


def test_a_sound_table_is_read(tmp_path: Path) -> None:
    (found,) = table_files.read_records(parquet(tmp_path / "t.parquet"))
    assert found == Record((3, 5), "random", 0.5, 2.0, "unlabelled", 0, None, False, (0.4, None))


def test_the_split_has_a_column_where_there_are_several(tmp_path: Path) -> None:
    one, other = (Record((3,), "random", 0.5, 2.0, "replay", split=split) for split in (1, 2))
    levels = {one.peers: 0.5, other.peers: 0.4}
    for name, found in (("one", [one]), ("both", [one, other])):
        table_files.write_records(found, levels, path := tmp_path / name)
        assert table_files.read_records(path) == found
        assert ("split" in pq.read_schema(path).names) == (name == "both")
    assert pq.ParquetFile(tmp_path / "both").read()["reference"].to_pylist() == [0.5, 0.4]


BAD: dict[str, Any] = {
    "text that is not UTF-8": {"generator": text(b"\xff\xfeab")},
    "half a character": {"generator": text("ä".encode()[:1])},
    "a surrogate": {"kind": text(b"\xed\xa0\x80")},
    "another kind": {"kind": "labelled"},
    "kind as bytes": {"kind": b"unlabelled"},
    "ids as text": {"ids": ["3", "5"]},
    "ids as one text": {"ids": "35"},
    "ids with halves": {"ids": [3.5, 5.0]},
    "ids as truth values": {"ids": [True, False]},
    "negative ids": {"ids": [-3, 5]},
    "no id at all": {"ids": None},
    "an id that is not known": {"ids": [3, None]},
    "ids that repeat": {"ids": [3, 3]},
    "infinite ids": {"ids": [math.inf]},
    "mAP as text": {"mAP": "0.5"},
    "mAP that is no number": {"mAP": math.nan},
    "infinite mAP": {"mAP": math.inf},
    "partway that is no number": {"partway": math.nan},
    "AP that is no number": {"per_class": [math.nan]},
    "vector that is no number": {"vector": [math.nan]},
    "seconds in days": {"seconds": pa.array([5], pa.duration("s"))},
    "cycle with a half": {"cycle": 0.5},
    "cycle below 0": {"cycle": -1},
    "split 0": {"split": 0},
    "no split": {"split": "first"},
    "cycle too large": {"cycle": math.inf},
    "stopped as text": {"stopped": "false"},
    "stopped as number": {"stopped": 2},
    "a record in a record": {"ids": {"ids": [3]}},
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_that_says_something_else_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = parquet(tmp_path / "records.parquet", **BAD[name])
    with pytest.raises(MgralError, match=r"records\.parquet") as caught:
        table_files.read_records(path)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


@pytest.mark.parametrize("name", [name for name in BAD if not isinstance(next(iter(BAD[name].values())), pa.Array)])
def test_a_record_of_json_is_judged_alike(name: str) -> None:
    with pytest.raises(MgralError, match=r"k\.json: not a record"):
        records.from_json({**SOUND, **BAD[name]}, "k.json")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [cut, folder, pipe, empty])
def test_a_file_that_is_no_table(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = parquet(tmp_path / "records.parquet")
    spoil(path)
    with pytest.raises(MgralError, match=r"records\.parquet: not a Parquet file"):
        table_files.read_records(path)
