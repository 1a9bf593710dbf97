"""The lookup table's files: ``records.parquet`` and ``index.faiss``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mgral.core.errors import MgralError
from mgral.core.files import require_regular, whole, write_bytes
from mgral.core.types import Floats, Record
from mgral.reward import records as recorded
from mgral.reward.nearest_neighbours import flat_index


def write_records(records: Sequence[Record], references: Mapping[tuple[int, str, int], float], path: Path) -> None:
    """Write records with the reference of their peers; columns ``vector`` and ``split`` only where there are any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers, many = pa.float64(), pa.list_(pa.float64())
    described = any(record.vector is not None for record in records)
    schema = pa.schema(
        [
            ("ids", pa.list_(pa.int64())),
            ("generator", pa.string()),
            ("mAP", numbers),
            ("seconds", numbers),
            ("kind", pa.string()),
            ("cycle", pa.int64()),
            ("partway", numbers),
            ("stopped", pa.bool_()),
            ("reference", numbers),
            ("per_class", many),
            *([("vector", many)] if described else []),
            *([("split", pa.int64())] if any(record.split > 1 for record in records) else []),
        ]
    )
    with whole(path) as temporary:
        rows = [{**asdict(r), "reference": references[r.peers]} for r in records]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def write_vectors(vectors: Floats, path: Path) -> None:
    """Write a flat FAISS index of vectors [n, d]."""
    import faiss

    write_bytes(path, faiss.serialize_index(flat_index(vectors)).data)


def read_records(path: Path) -> list[Record]:
    """The records of a saved table, in its order. Raises MgralError if the file is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        require_regular(path)
        # ParquetFile and not read_table: the latter may guess columns from the names of the folders above
        rows = pq.ParquetFile(path).read().to_pylist()
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral table`") from None
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError):  # ValueError: text that is not UTF-8
        raise MgralError(f"{path}: not a Parquet file; run `mgral table` again") from None
    return [recorded.from_json(row, f"{path}, row {k}") for k, row in enumerate(rows)]


def read_vectors(path: Path) -> Floats:
    """Vectors [n, d] of an index file. Raises MgralError if it is missing or no flat L2 index."""
    import faiss

    if not path.is_file():
        raise MgralError(f"{path}: no such file; make it with `mgral table`")
    try:
        index = faiss.read_index(str(path))
        if index.metric_type != faiss.METRIC_L2:
            raise TypeError
        vectors: Floats = index.reconstruct_n(0, index.ntotal)
    except (RuntimeError, TypeError):
        raise MgralError(f"{path}: not a flat FAISS index of L2 distance; run `mgral table` again") from None
    return vectors
