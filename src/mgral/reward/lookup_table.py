"""The lookup table: what a batch would be worth, read off the batches already tried (arXiv 2310.08387).

Training a proxy for every batch the agent thinks of would take days. The table holds the batches whose proxy
was trained, and prices a new one by those that resemble it: :mod:`mgral.reward.batch_features` says what that is,
:mod:`mgral.reward.surrogates` what follows.

A price is a gain: mAP of the proxy less the reference of its cycle, kind and split, the mean over random batches
(:func:`mgral.reward.records.references`). The paper's reward, mAP(proxy) - mAP(M_c), differs from it by a constant
within one cycle and kind of records. A constant changes nothing of what the agent learns, since each reward is compared
with a baseline made of other rewards, so there is no parameter for it; between cycles and kinds only differences can be
compared.

A table may hold records of several cycles (``table.carry``): the paper prices COCO from those of five labelled sizes.
All are described by the embeddings of the latest, whose batches the table is to price.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.config.schema import Table
from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.run_layout import INDEX, RECORDS
from mgral.core.types import Bools, Doubles, Embeddings, Ints, Record
from mgral.reward import records as recorded
from mgral.reward import table_files
from mgral.reward.batch_features import REPRESENTATIONS, Batches, check_batch, describer
from mgral.reward.bayes import Bayes, Weights
from mgral.reward.growth import FEATURES, Worlds
from mgral.reward.surrogates import EXACT, SURROGATES, Nearest, Price, Surrogate

ROUNDING = 1e-12  # of gains, which are differences of mAP
SHUFFLES = 100  # of the records, for what an audit would say without any signal


class LookupTable:
    """Records, their vectors, and the surrogate fitted to them.

    Attributes:
        records: whatever order they came in, those of the latest cycle first; of a cycle in ascending order of (ids,
            kind, split, generator, mAP, seconds).
        cycle: the latest of the records; the others are carried.
        references: by cycle, kind and split, the mAP that its records are compared with.
        left_out: carried records without a vector that fits, where the representation is ``growth``: of an earlier
            version, of a search, or of another number of classes.
        params: representation, surrogate and what these need.
    """

    def __init__(
        self,
        records: Iterable[Record],
        embeddings: Embeddings,
        params: Table,
        gpu: bool = False,
        worlds: Worlds | None = None,
    ) -> None:
        """Build the table.

        Args:
            records: at least two of the latest cycle among them.
            embeddings: of the whole pool, labelled images too, by the detector of that cycle.
            params: the section ``table`` of the parameters.
            gpu: look for neighbours on a GPU if there is one; prices are the same.
            worlds: what the representation ``growth`` is computed from; that of replay for records without a vector.

        Raises:
            MgralError: fewer than two records of the latest cycle, none of a cycle's and kind's random, or an unfit
                one: its ids are not in the pool or repeat, its mAP lies outside 0..1, or it is a control. The
                representation is ``growth``, and a world is missing.
        """
        self.params = params
        self._gpu = gpu
        self._embeddings = embeddings
        self._worlds = worlds
        if params.representation == "growth":
            if worlds is None:
                raise MgralError("table.representation: growth needs the signals of the pool; run `mgral table`")
        else:
            self._describe = describer(embeddings, params.representation, params.centroids)
        self._build(records)

    def _build(self, records: Iterable[Record]) -> None:
        ordered = sorted(records, key=lambda r: (-r.cycle, r.ids, r.kind, r.split, r.generator, r.mAP, r.seconds))
        ordered = _distinct(ordered)
        own = sum(record.cycle == ordered[0].cycle for record in ordered)
        if own < 2:
            raise MgralError(f"a lookup table needs at least 2 records of its cycle, not {own}; raise proxy.records")
        for record in ordered:
            _check(record, self._embeddings)
        given = len(ordered)
        if self._worlds is not None and self.params.representation == "growth":
            ordered = _described(ordered, self._worlds)
            vectors = np.array([record.vector for record in ordered], np.float32)
        else:
            vectors = self._describe([r.ids for r in ordered])
        self.left_out = given - len(ordered)
        self.records, self.cycle = tuple(ordered), ordered[0].cycle
        self.references = recorded.references(ordered)
        self._nearest = Nearest(vectors, np.array([self.gain(r) for r in ordered]), self.params, self._gpu)
        self._groups = _groups(ordered)
        self._by_class = _by_class(ordered, self._worlds) if self._worlds is not None else None
        self._surrogate = self._fitted(self._nearest, np.arange(len(ordered)))

    def _fitted(self, near: Nearest, order: Ints) -> Surrogate:
        """The surrogate on some vectors and gains; ``order`` says whose gains each record has."""
        if self.params.surrogate == "bayes" and self._by_class is not None:
            confident = self._worlds.confident if self._worlds is not None else (0, 0)
            return Bayes(near, self.params, self._by_class[order], self._groups, confident)
        return SURROGATES[self.params.surrogate](near, self.params)

    @property
    def weights(self) -> Weights | None:
        """Of the surrogate ``bayes``; None of another."""
        return self._surrogate.model.weights if isinstance(self._surrogate, Bayes) else None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def own(self) -> tuple[Record, ...]:
        """The records of the table's own cycle."""
        return tuple(record for record in self.records if record.cycle == self.cycle)

    @property
    def threshold(self) -> float:
        """Distance to the nearest record beyond which a batch is far; see :class:`mgral.reward.surrogates.Nearest`."""
        return self._nearest.threshold

    def gain(self, record: Record) -> float:
        """mAP of a record less the reference of its cycle, kind and split, -1..1.

        Raises KeyError if the table holds no records of these.
        """
        return record.mAP - self.references[record.peers]

    def price(self, batches: Batches) -> Price:
        """Estimate the gain of batches by the table's surrogate.

        Args:
            batches: image ids of each batch, in any order.

        Raises:
            MgralError: a batch is unfit, see :func:`mgral.reward.batch_features.describer`.
        """
        if self._worlds is not None and self.params.representation == "growth":
            return self._surrogate.price(self._worlds.own.features(batches).reshape(len(batches), -1))
        return self._surrogate.price(self._describe(batches))

    def add(self, record: Record) -> None:
        """Add one record; the table is then the same as if built with it, threshold included.

        Raises:
            MgralError: an unfit record.
        """
        self._build([*self.records, record])

    def audit(self) -> dict[str, Any]:
        """How far the table can be trusted: each record of its own cycle priced by all others (leave one out).

        Carried records are always among the others and never priced: what the table must price are batches of its own
        cycle. ``mae_mean`` takes no notice of them, so that it is the same with and without.

        Correlations of a table without any signal are below 0 rather than at 0, since the mean of the others
        is lower, the higher the record left out, and how far below depends on the surrogate. So the same is done with
        the gains shuffled among the records of a kind and split, where vectors can say nothing of them: ``chance``.

        Returns:
            The content of ``audit.json``: ``records`` (how many of its own cycle; the rest is about these),
            ``carried`` (how many of earlier cycles), ``left_out`` (how many of earlier cycles have no vector that
            fits), ``signal`` (of the surrogate bayes, see :meth:`mgral.reward.bayes.Bayes.verdict`; None of another),
            ``neighbours`` (count), ``representation``, ``surrogate``,
            ``threshold``, ``mae`` (mean absolute error), ``mae_mean`` (the same when the mean of the other records of
            its cycle is predicted), ``spearman`` and ``kendall`` (rank correlation of trained and estimated gain; None
            where either is constant), ``chance`` (``spearman`` over ``SHUFFLES`` shuffles: its ``values``, their
            ``mean`` and ``deviation``; None where that is None), ``spread`` (standard deviation of the gain over the
            records), ``far`` (share of records that the others call far), ``points``, and ``comparison``: ``mae``,
            ``spearman``,
            ``kendall`` and ``far`` of every representation with every surrogate on the same records.
        """
        priced = np.array([record.cycle == self.cycle for record in self.records])
        values = self._nearest.values[priced]
        mean_of_others = (values.sum() - values) / (len(values) - 1)
        held_out = self._surrogate.leave_one_out().of(priced)
        return {
            "records": len(values),
            "carried": len(self) - len(values),
            "neighbours": self.params.neighbours,
            "representation": self.params.representation,
            "surrogate": self.params.surrogate,
            "left_out": self.left_out,
            "signal": self._surrogate.verdict() if isinstance(self._surrogate, Bayes) else None,
            "threshold": self.threshold,
            "mae_mean": float(np.abs(mean_of_others - values).mean()),
            "spread": float(values.std()),
            **_agreement(values, held_out),
            "chance": self._chance(priced),
            "points": [
                {
                    **{"kind": one.kind, "generator": one.generator, "trained": self.gain(one)},
                    **({"split": one.split} if one.split > 1 else {}),
                    "estimated": float(guess),
                }
                for one, guess in zip(self.own, held_out.value, strict=True)
            ],
            "comparison": [
                {"representation": kind, "surrogate": name, **_agreement(values, surrogate.leave_one_out().of(priced))}
                for kind in self._representations()
                for name, surrogate in self._surrogates(kind)
            ],
        }

    def _chance(self, priced: Bools) -> dict[str, Any] | None:
        """Spearman's correlation of held-out records with the gains shuffled, see :meth:`audit`."""
        from scipy.stats import spearmanr

        rng = random_streams.generator("shuffled records")
        values = self._nearest.values
        groups = [np.flatnonzero(priced & (self._groups == group)) for group in np.unique(self._groups[priced])]
        found = []
        for _ in range(SHUFFLES if _vary(values[priced]) else 0):
            order = np.arange(len(values))
            for rows in groups:
                order[rows] = rng.permutation(rows)
            near = copy.copy(self._nearest)
            near.values = values[order]
            estimated = self._fitted(near, order).leave_one_out().value[priced]
            if _vary(estimated):
                found.append(spearmanr(near.values[priced], estimated).statistic)
        if not found:
            return None
        return {"mean": float(np.mean(found)), "deviation": float(np.std(found)), "values": [*map(float, found)]}

    def _representations(self) -> list[str]:
        """Those that can be computed from what was given."""
        found = [kind for kind in REPRESENTATIONS if kind != "objects" or self._embeddings.objects is not None]
        return [*found, "growth"] if self.params.representation == "growth" else found

    def _surrogates(self, kind: str) -> Iterator[tuple[str, Surrogate]]:
        """Every surrogate, fitted to this table's records in another representation."""
        if kind == self.params.representation:
            near = self._nearest
        else:
            vectors = describer(self._embeddings, kind, self.params.centroids)([r.ids for r in self.records])
            near = Nearest(vectors, self._nearest.values, self.params, self._gpu)
        for name, make in SURROGATES.items():
            yield name, make(near, self.params)
        if isinstance(self._surrogate, Bayes) and kind == "growth":
            yield "bayes", self._surrogate

    def save(self, folder: str | Path) -> None:
        """Write ``records.parquet`` and ``index.faiss`` into ``folder``."""
        table_files.write_records(self.records, self.references, Path(folder) / RECORDS)
        table_files.write_vectors(self._nearest.vectors, Path(folder) / INDEX)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        embeddings: Embeddings,
        params: Table,
        gpu: bool = False,
        worlds: Worlds | None = None,
    ) -> LookupTable:
        """Read a saved table; it prices as the one that was saved, to the last bit.

        Args:
            folder: holds ``records.parquet`` and ``index.faiss``.
            embeddings: those the table was built from.
            params: the parameters it was built with.
            gpu: look for neighbours on a GPU if there is one; prices are the same.
            worlds: for the representation ``growth``; saved records bring their vectors.

        Raises:
            MgralError: a file is missing or damaged, a record is unfit, or the index does not belong to these
                records, embeddings and parameters.
        """
        records_file, index_file = Path(folder) / RECORDS, Path(folder) / INDEX
        records = table_files.read_records(records_file)
        saved = table_files.read_vectors(index_file)
        try:
            table = cls(records, embeddings, params, gpu, worlds)
        except MgralError as error:
            raise MgralError(f"{records_file}: {error}") from None
        vectors = table._nearest.vectors
        if saved.shape != vectors.shape or not np.allclose(saved, vectors, rtol=1e-5, atol=EXACT):
            raise MgralError(
                f"{index_file}: is not the index of these records, embeddings and parameters; run `mgral table` again"
            )
        return table


def _agreement(trained: Doubles, held_out: Price) -> dict[str, float | None]:
    """How the estimates of held-out records agree with what was trained; see :meth:`LookupTable.audit`."""
    from scipy.stats import kendalltau, spearmanr

    estimated = held_out.value
    ranked = _vary(trained) and _vary(estimated)
    return {
        "mae": float(np.abs(estimated - trained).mean()),
        "spearman": float(spearmanr(trained, estimated).statistic) if ranked else None,
        "kendall": float(kendalltau(trained, estimated).statistic) if ranked else None,
        "far": float(held_out.far.mean()),
    }


def _distinct(ordered: list[Record]) -> list[Record]:
    """The records without those of a batch that was drawn twice, where a small pool has no others.

    The second is no evidence, and a held-out record must not be priced by its twin. One that was drawn at random stays
    such, to compare the others with. Where the latest cycle has one batch alone, all stay.
    """
    found: dict[tuple[Any, ...], Record] = {}
    for record in ordered:
        key = *record.peers, record.ids, record.mAP
        if key not in found or record.generator == "random":
            found[key] = record
    kept = list(found.values())
    return kept if sum(record.cycle == ordered[0].cycle for record in kept) > 1 else ordered


def _described(ordered: list[Record], worlds: Worlds) -> list[Record]:
    """The records with their vectors; of earlier cycles only those that bring one of the right length."""
    width = len(worlds.own.boxes) * len(FEATURES)
    kept = [record for record in ordered if record.cycle == ordered[0].cycle or len(record.vector or ()) == width]
    found = []
    for record in kept:
        if record.vector is None:
            numbers = worlds.of(record.kind, record.split).features([record.ids]).ravel().astype(np.float32)
            record = replace(record, vector=tuple(numbers.tolist()))
        found.append(record)
    return found


def _by_class(records: Sequence[Record], worlds: Worlds) -> Doubles:
    """[n, C] AP of each record; NaN where there is none."""
    found = np.full((len(records), len(worlds.own.boxes)), np.nan)
    for row, record in zip(found, records, strict=True):
        if record.per_class is not None:
            row[:] = [np.nan if value is None else value for value in record.per_class]
    return found


def _groups(records: Sequence[Record]) -> Ints:
    """[n] a number for each cycle, kind and split."""
    names = [f"{record.cycle} {record.kind} {record.split}" for record in records]
    numbers: Ints = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return numbers


def _vary(values: Doubles) -> bool:
    """Whether gains differ by more than rounding."""
    return bool(np.ptp(values) > ROUNDING)


def _check(record: Record, embeddings: Embeddings) -> None:
    name = f"record of {record.generator} ({_short(record.ids)})"
    if record.kind == "control":
        raise MgralError(f"{name}: is a control, which prices nothing; leave it out of the table")
    check_batch(record.ids, embeddings, name)
    if not 0 <= record.mAP <= 1:
        raise MgralError(f"{name}: mAP is {record.mAP}, not in 0..1; train its proxy again")
    if not (math.isfinite(record.seconds) and record.seconds >= 0):
        raise MgralError(f"{name}: seconds is {record.seconds}, not a duration; train its proxy again")


def _short(ids: Sequence[int]) -> str:
    listed = ", ".join(str(i) for i in ids[:3])
    return f"images {listed}, …" if len(ids) > 3 else f"images {listed}"
