"""The lookup table: what a batch would be worth, read off the batches already tried (arXiv 2310.08387).

Training a proxy for every batch the agent thinks of would take days. The table holds the batches whose proxy
was trained, and prices a new one by its nearest neighbours among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral import records as recorded
from mgral.errors import MgralError, nearest
from mgral.files import whole
from mgral.params import Table
from mgral.types import Bools, Embeddings, Floats, Record

Doubles = npt.NDArray[np.float64]
Batches = Sequence[Sequence[int]]

EXACT = 1e-6
"""Distance up to which a batch counts as a record's own. The same batch gives the same vector to the last bit
and a distance of exactly 0; the tolerance covers an embedding that went through another machine."""

QUERIES = 16
"""Queries handed to FAISS at once. Given many (20, or more in newer versions), it expands |x - y|² into inner
products, whose rounding hides exact hits and depends on the other queries; given few, it sums the squared
differences of each pair. Index vectors are whole numbers, and exact either way."""


def represent(batches: Batches, embeddings: Embeddings, kind: str) -> Floats:
    """The vectors between which batches are compared by L2 distance.

    - ``embedding``: the mean of the images' embeddings, as the detector gave them (not scaled).
    - ``index``: 1 at the images of the batch and 0 elsewhere, over the pool in ascending order of id. Two
      batches are as far apart as the square root of the number of images that only one of them holds.

    Args:
        batches: image ids; their order within a batch is of no account.
        embeddings: of the whole pool.
        kind: a key of :data:`REPRESENTATIONS`.

    Returns:
        [len(batches), d]; d is the width of the embeddings, or the size of the pool.

    Raises:
        MgralError: unknown kind; no batch; a batch that is empty, repeats an id, or holds one that is not in
            the pool or has an embedding that is not finite.
    """
    if kind not in REPRESENTATIONS:
        raise MgralError(f"table.representation: unknown '{kind}'; {nearest(kind, REPRESENTATIONS)}")
    for k, batch in enumerate(batches):
        _check_batch(batch, embeddings, f"batch {k}")
    if not batches:
        raise MgralError("no batch to represent; give at least one")
    vectors = np.stack([REPRESENTATIONS[kind](sorted(batch), embeddings) for batch in batches])
    unfit = ~np.isfinite(vectors).all(axis=1)
    if unfit.any():
        raise MgralError(f"batch {unfit.argmax()}: has an embedding that is not finite; run `mgral embed` anew")
    return vectors


def _mean_embedding(batch: list[int], embeddings: Embeddings) -> Floats:
    return embeddings.rows(batch).mean(axis=0, dtype=np.float64).astype(np.float32)


def _index_vector(batch: list[int], embeddings: Embeddings) -> Floats:
    return np.isin(embeddings.ids, batch).astype(np.float32)


REPRESENTATIONS: dict[str, Callable[[list[int], Embeddings], Floats]] = {
    "embedding": _mean_embedding,
    "index": _index_vector,
}


@dataclass(frozen=True)
class Price:
    """What the table says of n batches.

    Attributes:
        value: [n] float64, estimated mAP of the proxy, 0..1.
        distance: [n] float64, L2 distance to the nearest record.
        far: [n] bool, the nearest record lies beyond the threshold: the estimate is not to be trusted.
    """

    value: Doubles
    distance: Doubles
    far: Bools


class LookupTable:
    """Records and their exact FAISS index.

    Attributes:
        records: in ascending order of (ids, generator, mAP, seconds), whatever order they came in.
        params: representation, neighbours M, deviations of the threshold.
        threshold: mean - deviations * standard deviation of the distances between all pairs of records (the
            paper's "mean distance - 1 standard deviation"; of which distances, it does not say). The variance
            is divided by the number of pairs.
    """

    def __init__(self, records: Iterable[Record], embeddings: Embeddings, params: Table) -> None:
        """Build the table.

        Args:
            records: at least two.
            embeddings: of the whole pool.
            params: the section ``table`` of the parameters.

        Raises:
            MgralError: fewer than two records, or an unfit one: its ids are not in the pool or repeat, or its
                mAP lies outside 0..1.
        """
        self.params = params
        self._embeddings = embeddings
        self._build(records)

    def _build(self, records: Iterable[Record]) -> None:
        from faiss import IndexFlatL2
        from scipy.spatial.distance import pdist

        ordered = sorted(records, key=lambda r: (r.ids, r.generator, r.mAP, r.seconds))
        if len(ordered) < 2:
            raise MgralError(f"a lookup table needs at least 2 records, not {len(ordered)}; raise proxy.records")
        for record in ordered:
            _check(record, self._embeddings)
        vectors = represent([r.ids for r in ordered], self._embeddings, self.params.representation)
        self.records = tuple(ordered)
        self._vectors = vectors
        self._values = np.array([r.mAP for r in ordered])
        self._index = IndexFlatL2(vectors.shape[1])
        self._index.add(vectors)
        pairs = pdist(vectors.astype(np.float64))
        self.threshold = float(pairs.mean() - self.params.threshold_deviations * pairs.std())

    def __len__(self) -> int:
        return len(self.records)

    def price(self, batches: Batches) -> Price:
        """Estimate the mAP of batches: the mean over the M nearest records, weighted by inverse distance.

        A batch at distance 0 of a record (see :data:`EXACT`) gets that record's mAP, or the mean of several
        such, and is never far. With fewer than M records all of them count.

        Args:
            batches: image ids of each batch.

        Raises:
            MgralError: as :func:`represent`.
        """
        queries = represent(batches, self._embeddings, self.params.representation)
        distances, rows = self._nearest(queries, self.params.neighbours)
        value = _inverse_distance_mean(distances, self._values[rows])
        nearest_one = distances[:, 0]
        return Price(value, nearest_one, (nearest_one > self.threshold) & (nearest_one > EXACT))

    def add(self, record: Record) -> None:
        """Add one record; the table is then the same as if built with it, threshold included.

        Raises:
            MgralError: an unfit record.
        """
        self._build([*self.records, record])

    def audit(self) -> dict[str, Any]:
        """How far the table can be trusted: each record priced by the others (leave one out).

        Correlations of a table without any signal are below 0 rather than at 0, since the mean of the others
        is lower, the higher the record left out; ``mae`` against ``mae_mean`` does not have that flaw.

        Returns:
            The content of ``audit.json``: ``records`` and ``neighbours`` (counts), ``representation``,
            ``threshold``, ``mae`` (mean absolute error), ``mae_mean`` (the same when the mean of the others
            is predicted), ``spearman`` and ``kendall`` (rank correlation of trained and estimated mAP; None
            where either is constant), ``spread`` (standard deviation of mAP over the records), ``far`` (share
            of records whose nearest other lies beyond the table's threshold) and ``points``.
        """
        from scipy.stats import kendalltau, spearmanr

        distances, rows = self._others()
        trained = self._values
        estimated = _inverse_distance_mean(distances, trained[rows])
        mean_of_others = (trained.sum() - trained) / (len(trained) - 1)
        ranked = np.ptp(trained) > 0 and np.ptp(estimated) > 0
        nearest_one = distances[:, 0]
        far = (nearest_one > self.threshold) & (nearest_one > EXACT)
        return {
            "records": len(self),
            "neighbours": self.params.neighbours,
            "representation": self.params.representation,
            "threshold": self.threshold,
            "mae": float(np.abs(estimated - trained).mean()),
            "mae_mean": float(np.abs(mean_of_others - trained).mean()),
            "spearman": float(spearmanr(trained, estimated).statistic) if ranked else None,
            "kendall": float(kendalltau(trained, estimated).statistic) if ranked else None,
            "spread": float(trained.std()),
            "far": float(far.mean()),
            "points": [
                {"generator": record.generator, "trained": record.mAP, "estimated": float(guess)}
                for record, guess in zip(self.records, estimated, strict=True)
            ],
        }

    def save(self, folder: str | Path) -> None:
        """Write ``records.parquet`` and ``index.faiss`` into ``folder``."""
        import faiss
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [
                ("ids", pa.list_(pa.int64())),
                ("generator", pa.string()),
                ("mAP", pa.float64()),
                ("seconds", pa.float64()),
            ]
        )
        with whole(Path(folder) / "records.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist([asdict(r) for r in self.records], schema=schema), temporary)
        with whole(Path(folder) / "index.faiss") as temporary:
            faiss.write_index(self._index, str(temporary))

    @classmethod
    def load(cls, folder: str | Path, embeddings: Embeddings, params: Table) -> LookupTable:
        """Read a saved table; it prices as the one that was saved, to the last bit.

        Args:
            folder: holds ``records.parquet`` and ``index.faiss``.
            embeddings: those the table was built from.
            params: the parameters it was built with.

        Raises:
            MgralError: a file is missing or damaged, a record is unfit, or the index does not belong to these
                records, embeddings and parameters.
        """
        records_file, index_file = Path(folder) / "records.parquet", Path(folder) / "index.faiss"
        records = _read_records(records_file)
        saved = _read_vectors(index_file)
        try:
            table = cls(records, embeddings, params)
        except MgralError as error:
            raise MgralError(f"{records_file}: {error}") from None
        if saved.shape != table._vectors.shape or not np.allclose(saved, table._vectors, rtol=1e-5, atol=EXACT):
            raise MgralError(
                f"{index_file}: is not the index of these records, embeddings and parameters; "
                "make it anew with `mgral table`"
            )
        return table

    def _nearest(self, queries: Floats, count: int) -> tuple[Doubles, npt.NDArray[np.int64]]:
        """Distances and rows of the nearest records, [n, min(count, records)] each, nearest first."""
        count = min(count, len(self))
        distances, rows = np.zeros((len(queries), count)), np.zeros((len(queries), count), np.int64)
        for start in range(0, len(queries), QUERIES):
            block = slice(start, start + QUERIES)
            squared, rows[block] = self._index.search(queries[block], count)
            distances[block] = np.sqrt(squared.astype(np.float64))
        return distances, rows

    def _others(self) -> tuple[Doubles, npt.NDArray[np.int64]]:
        """As :meth:`_nearest` for the records themselves, each left out of its own neighbours."""
        distances, rows = self._nearest(self._vectors, self.params.neighbours + 1)
        keep = rows != np.arange(len(self))[:, None]
        keep[keep.all(axis=1), -1] = False  # more twins than neighbours: the record itself was not among them
        width = rows.shape[1] - 1
        return distances[keep].reshape(-1, width), rows[keep].reshape(-1, width)


def _inverse_distance_mean(distances: Doubles, values: Doubles) -> Doubles:
    """Mean of ``values`` [n, M] weighted by 1 / ``distances``; rows with exact hits average these alone."""
    exact = distances <= EXACT
    weights = np.where(exact.any(axis=1, keepdims=True), exact, 1 / np.maximum(distances, EXACT))
    mean: Doubles = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return mean


def _read_records(path: Path) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # ParquetFile and not read_table: the latter may guess columns from the names of the folders above
        rows = pq.ParquetFile(path).read().to_pylist()
    except FileNotFoundError:
        raise MgralError(f"{path}: no such file; make it with `mgral table`") from None
    except (pa.ArrowException, OSError):
        raise MgralError(f"{path}: not a Parquet file; make it anew with `mgral table`") from None
    return [recorded.from_json(row, f"{path}, row {k}") for k, row in enumerate(rows)]


def _read_vectors(path: Path) -> Floats:
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
        raise MgralError(f"{path}: not a flat FAISS index of L2 distance; make it anew with `mgral table`") from None
    return vectors


def _check(record: Record, embeddings: Embeddings) -> None:
    name = f"record of {record.generator} ({_short(record.ids)})"
    _check_batch(record.ids, embeddings, name)
    if not 0 <= record.mAP <= 1:
        raise MgralError(f"{name}: mAP is {record.mAP}, not in 0..1; train its proxy again")
    if not (math.isfinite(record.seconds) and record.seconds >= 0):
        raise MgralError(f"{name}: seconds is {record.seconds}, not a duration; train its proxy again")


def _check_batch(batch: Sequence[int], embeddings: Embeddings, name: str) -> None:
    if not len(batch):
        raise MgralError(f"{name}: holds no image; a batch needs at least one id")
    ids = np.asarray(batch)
    absent = ids[~np.isin(ids, embeddings.ids)]
    if len(absent):
        raise MgralError(f"{name}: image {absent[0]} is not in the pool; draw batches from the pool's own ids")
    if len(np.unique(ids)) < len(ids):
        raise MgralError(f"{name}: holds an image twice; name each id once")


def _short(ids: Sequence[int]) -> str:
    listed = ", ".join(str(i) for i in ids[:3])
    return f"images {listed}, …" if len(ids) > 3 else f"images {listed}"
