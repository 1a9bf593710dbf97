"""The lookup table, on images whose embeddings lie on a line."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tables import detections, line, params, record

from mgral.core.errors import MgralError
from mgral.core.types import Embeddings, Record
from mgral.reward import lookup_table
from mgral.reward.batch_features import REPRESENTATIONS, with_objects
from mgral.reward.lookup_table import LookupTable
from mgral.reward.records import as_json, from_json
from mgral.reward.surrogates import SURROGATES


def levels(table: LookupTable, batches: list[list[int]]) -> list[float]:
    """Prices as mAP: the gain and what it is a gain over."""
    return (table.price(batches).value + table.references[0, "unlabelled", 1]).tolist()


def test_neighbours_weigh_by_inverse_distance() -> None:
    # Records at 0 (0.2) and 3 (0.5), query at 1: (0.2 / 1 + 0.5 / 2) / (1 / 1 + 1 / 2) = 0.45 / 1.5 = 0.3.
    # Query at 5: distances 5 and 2: (0.2 / 5 + 0.5 / 2) / (1 / 5 + 1 / 2) = 0.29 / 0.7.
    table = LookupTable([record((1,), 0.2), record((3,), 0.5)], line(0, 1, 3, 5), params())
    assert levels(table, [[2], [4]]) == pytest.approx([0.3, 0.29 / 0.7])
    assert table.price([[2], [4]]).distance.tolist() == [1, 2]


def test_only_the_nearest_m_count() -> None:
    table = LookupTable([record((1,), 0.2), record((3,), 0.5), record((4,), 0.9)], line(0, 1, 3, 9), params(1))
    assert levels(table, [[2]]) == pytest.approx([0.2])


def test_more_neighbours_than_records_are_all_records() -> None:
    few = LookupTable([record((1,), 0.2), record((3,), 0.5)], line(0, 1, 3), params(50))
    assert levels(few, [[2]]) == pytest.approx([0.3])


def test_an_exact_hit_is_that_record_and_never_far() -> None:
    # 100 deviations below the mean: the threshold is negative, and every batch that is no hit is far.
    records = [record((1,), 0.2), record((3,), 0.5), record((4,), 0.9)]
    table = LookupTable(records, line(0, 1, 3, 9), params(3, 100))
    price = table.price([[3], [2]])
    assert price.value[0] == table.gain(records[1])
    assert price.distance[0] == 0
    assert price.far.tolist() == [False, True]


def test_several_exact_hits_are_averaged() -> None:
    # Images 1 and 2 stand at the same place: (0.2 + 0.3) / 2.
    records = [record((1,), 0.2), record((2,), 0.3), record((3,), 0.9)]
    assert levels(LookupTable(records, line(0, 0, 4), params(3)), [[1]]) == pytest.approx([0.25])


def test_threshold_is_mean_minus_deviations_of_the_pairs() -> None:
    # Records at 0, 1, 3: distances 1, 2, 3, mean 2, variance (1 + 0 + 1) / 3; threshold 2 - 0.8165 = 1.1835.
    # Query at 2 (nearest 1) is not far, at 4.25 (nearest 1.25) it is.
    records = [record((1,), 0.2), record((2,), 0.3), record((3,), 0.4)]
    table = LookupTable(records, line(0, 1, 3, 2, 4.25), params())
    assert table.threshold == pytest.approx(2 - math.sqrt(2 / 3))
    assert table.price([[4], [5]]).far.tolist() == [False, True]
    assert LookupTable(records, line(0, 1, 3), params(2, 0)).threshold == pytest.approx(2)


def test_a_price_does_not_depend_on_the_others_asked_with_it() -> None:
    """FAISS changes its arithmetic when given many queries; far from the origin that would hide exact hits."""
    rng = np.random.default_rng(3)
    vectors = (1000 + rng.normal(size=(60, 256))).astype(np.float32)
    embeddings = Embeddings(np.arange(60), vectors)
    batches = [tuple(sorted(rng.choice(60, 5, replace=False).tolist())) for _ in range(600)]
    table = LookupTable([record(b, 0.01 * k) for k, b in enumerate(batches[:25])], embeddings, params(5))
    together = table.price(batches)
    alone = [table.price([batch]) for batch in batches]
    assert together.value.tolist() == [price.value[0] for price in alone]
    assert together.distance.tolist() == [price.distance[0] for price in alone]
    assert together.distance[:25].tolist() == [0.0] * 25
    assert (together.distance[25:] > 0.1).all()
    assert together.value[:25].tolist() == pytest.approx([0.01 * (k - 12) for k in range(25)])


def test_an_added_record_is_as_if_always_there() -> None:
    embeddings = line(0, 1, 3, 7)
    records = [record((2,), 0.3), record((4,), 0.4)]
    table = LookupTable(records, embeddings, params())
    table.add(record((1,), 0.2, "search"))
    built = LookupTable([record((1,), 0.2, "search"), *records], embeddings, params())
    assert table.records == built.records
    assert table.threshold == built.threshold
    assert table.price([[1], [3]]).value.tolist() == built.price([[1], [3]]).value.tolist()
    assert levels(table, [[1]]) == pytest.approx([0.2])
    assert table.references == {(0, "unlabelled", 1): pytest.approx(0.35)}  # that of the search is not random


@pytest.fixture
def saved(tmp_path: Path) -> tuple[LookupTable, Embeddings, Path]:
    rng = np.random.default_rng(1)
    vectors, objects = rng.normal(size=(20, 256)).astype(np.float32), rng.random((20, 3)).astype(np.float32)
    embeddings = Embeddings(np.arange(10, 30), vectors, objects)
    batches = [tuple(sorted(rng.choice(embeddings.ids, 4, replace=False).tolist())) for _ in range(7)]
    table = LookupTable([record(b, 0.1 * k) for k, b in enumerate(batches)], embeddings, params(3))
    table.save(tmp_path / "table")
    return table, embeddings, tmp_path / "table"


def test_a_loaded_table_answers_the_same_bytes(saved: tuple[LookupTable, Embeddings, Path]) -> None:
    table, embeddings, folder = saved
    loaded = LookupTable.load(folder, embeddings, params(3))
    asked = [embeddings.ids[k : k + 4].tolist() for k in range(16)]
    assert loaded.records == table.records
    assert loaded.threshold == table.threshold
    before, after = table.price(asked), loaded.price(asked)
    assert after.value.tobytes() == before.value.tobytes()
    assert after.distance.tobytes() == before.distance.tobytes()
    assert after.far.tobytes() == before.far.tobytes()


def test_the_order_of_records_does_not_show_in_the_files(
    saved: tuple[LookupTable, Embeddings, Path], tmp_path: Path
) -> None:
    table, embeddings, folder = saved
    LookupTable(reversed(table.records), embeddings, params(3)).save(tmp_path / "again")
    for name in ("records.parquet", "index.faiss"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_records_parquet_has_the_documented_columns(saved: tuple[LookupTable, Embeddings, Path]) -> None:
    import pyarrow.parquet as pq

    schema = pq.ParquetFile(saved[2] / "records.parquet").schema_arrow
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        "ids": "list<element: int64>",
        "generator": "string",
        "mAP": "double",
        "seconds": "double",
        "kind": "string",
        "cycle": "int64",
        "partway": "double",
        "stopped": "bool",
        "reference": "double",
        "per_class": "list<element: double>",
    }


@pytest.mark.parametrize("name", ["records.parquet", "index.faiss"])
@pytest.mark.parametrize("damage", ["missing", "empty", "short", "text"])
def test_damaged_files_are_named(saved: tuple[LookupTable, Embeddings, Path], name: str, damage: str) -> None:
    _, embeddings, folder = saved
    file = folder / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "short": file.read_bytes()[:40], "text": b"hello, world" * 9}[damage])
    with pytest.raises(MgralError, match=rf"{name}: (no such|not a) .*mgral table") as error:
        LookupTable.load(folder, embeddings, params(3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_any_table_is_the_same_after_loading(
    saved: tuple[LookupTable, Embeddings, Path], representation: str, surrogate: str, tmp_path: Path
) -> None:
    table, embeddings, _ = saved
    given = params(3, 1, representation, surrogate)
    built = LookupTable(table.records, embeddings, given)
    built.save(tmp_path / "other")
    loaded = LookupTable.load(tmp_path / "other", embeddings, given)
    asked = [embeddings.ids[k : k + 4].tolist() for k in range(16)]
    before, after = built.price(asked), loaded.price(asked)
    assert after.value.tobytes() == before.value.tobytes()
    assert after.far.tobytes() == before.far.tobytes()
    assert (np.abs(before.value) <= 1).all()
    assert not built.price([record.ids for record in built.records]).far.any()
    built.add(record((10, 11, 12, 13), 0.9))
    again = LookupTable([*table.records, record((10, 11, 12, 13), 0.9)], embeddings, given)
    assert built.price(asked).value.tobytes() == again.price(asked).value.tobytes()


def test_other_embeddings_or_parameters_than_the_tables_are_refused(
    saved: tuple[LookupTable, Embeddings, Path],
) -> None:
    _, embeddings, folder = saved
    moved = Embeddings(embeddings.ids, embeddings.vectors + 0.01)
    with pytest.raises(MgralError, match="is not the index of these records, embeddings and parameters"):
        LookupTable.load(folder, moved, params(3))
    with pytest.raises(MgralError, match="is not the index of these records"):
        LookupTable.load(folder, embeddings, params(3, 1, "index"))


def test_records_of_another_pool_are_refused(saved: tuple[LookupTable, Embeddings, Path]) -> None:
    _, embeddings, folder = saved
    with pytest.raises(MgralError, match=r"records\.parquet: record of random .*: image \d+ is not in the pool"):
        LookupTable.load(folder, Embeddings(embeddings.ids + 100, embeddings.vectors), params(3))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record((1,), 0.2)], "at least 2 records of its cycle, not 1; raise proxy.records"),
        ([], "at least 2 records of its cycle, not 0"),
        ([replace(record((k,), 0.2), cycle=k // 3) for k in (1, 2, 3)], "at least 2 records of its cycle, not 1"),
        ([record((1,), 0.2), record((1, 9), 0.2)], r"random \(images 1, 9\): image 9 is not in the pool"),
        ([record((1,), 0.2), record((2, 2), 0.2)], r"\(images 2, 2\): holds an image twice"),
        ([record((1,), 0.2), record((), 0.2)], "holds no image"),
        ([record((1,), 0.2), record((2,), 1.2)], r"mAP is 1.2, not in 0\.\.1"),
        ([record((1,), 0.2), record((2,), math.nan)], r"mAP is nan, not in 0\.\.1"),
        ([record((1,), 0.2), Record((2,), "random", 0.2, math.inf)], "seconds is inf"),
        ([record((1,), 0.2), Record((2,), "random", 0.2, 1.0, "control")], "is a control, which prices nothing"),
        ([record((1,), 0.2), Record((2,), "class", 0.2, 1.0, "replay")], "no replay record of cycle 0 is of a random"),
        (
            [*(replace(record((k,), 0.2), cycle=1) for k in (1, 2)), record((3,), 0.2, "class")],
            "no unlabelled record of cycle 0 is of a random batch",
        ),
    ],
)
def test_unfit_records_are_refused(records: list[Record], message: str) -> None:
    with pytest.raises(MgralError, match=message):
        LookupTable(records, line(0, 1, 2), params())


def test_audit_leaves_one_out() -> None:
    # Records at 0, 1, 3, 4 with 0.1, 0.2, 0.5, 0.4, one neighbour: estimates 0.2, 0.1, 0.4, 0.5, each 0.1 off.
    # Mean of the others: 1.1/3, 1.0/3, 0.7/3, 0.8/3; errors 0.8/3, 0.4/3, 0.8/3, 0.4/3; mean 0.2.
    # Ranks 1 2 4 3 against 2 1 3 4: Spearman 1 - 6 * 4 / (4 * 15) = 0.6; Kendall (4 - 2) / 6.
    # The reference is the mean, 0.3: gains -0.2, -0.1, 0.2, 0.1.
    # Variance (0.04 + 0.01 + 0.04 + 0.01) / 4. Pairs 1 3 4 2 3 1: mean 14/6, mean square 40/6.
    places, values = line(0, 1, 3, 4), [0.1, 0.2, 0.5, 0.4]
    records = [record((k + 1,), value) for k, value in enumerate(values)]
    audit = LookupTable(records, places, params(1)).audit()
    points = [("unlabelled", "random", *pair) for pair in ((-0.2, -0.1), (-0.1, -0.2), (0.2, 0.1), (0.1, 0.2))]
    for point, expected in zip(audit["points"], points, strict=True):
        assert list(point) == ["kind", "generator", "trained", "estimated"]
        assert tuple(point.values()) == (*expected[:2], pytest.approx(expected[2]), pytest.approx(expected[3]))
    assert audit["mae"] == pytest.approx(0.1)
    assert audit["mae_mean"] == pytest.approx(0.2)
    assert audit["spearman"] == pytest.approx(0.6)
    assert audit["kendall"] == pytest.approx(1 / 3)
    assert audit["spread"] == pytest.approx(math.sqrt(0.025))
    assert audit["threshold"] == pytest.approx(14 / 6 - math.sqrt(40 / 6 - (14 / 6) ** 2))
    assert (audit["records"], audit["neighbours"], audit["representation"]) == (4, 1, "embedding")
    assert audit["surrogate"] == "nearest"
    assert audit["far"] == 0  # each has another at distance 1, the threshold is 1.23
    assert LookupTable(records, places, params(1, 2)).audit()["far"] == 1  # the threshold is 0.12


def test_audit_compares_everything_on_the_same_records() -> None:
    # mAP is 0.1 + 0.1 * place: a line, of which ridge regression needs no neighbour. By index all records are as
    # far from each other, and the best guess is no better than the others' mean.
    places = [0.0, 1, 2, 3, 4, 5, 6, 7]
    records = [record((k + 1,), 0.1 + 0.1 * place) for k, place in enumerate(places)]
    seen = {k + 1: detections(*[1] * k) for k in range(8)}
    without = LookupTable(records, line(*places), params(1)).audit()
    assert "objects" not in {row["representation"] for row in without["comparison"]}
    audit = LookupTable(records, with_objects(line(*places), seen, 2), params(1)).audit()
    found = {(row["representation"], row["surrogate"]): row for row in audit["comparison"]}
    assert list(found) == [(kind, name) for kind in REPRESENTATIONS for name in SURROGATES]
    assert all(list(row)[2:] == ["mae", "spearman", "kendall", "far"] for row in audit["comparison"])
    own = found["embedding", "nearest"]
    assert {key: audit[key] for key in ("mae", "spearman", "kendall", "far")} == {k: own[k] for k in list(own)[2:]}
    assert found["embedding", "ridge"]["mae"] < 0.01 < found["embedding", "nearest"]["mae"]
    assert found["embedding", "ridge"]["spearman"] == pytest.approx(1)
    assert found["embedding", "gp"]["kendall"] > 0.9
    assert found["index", "ridge"]["mae"] == pytest.approx(audit["mae_mean"], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("surrogate", ["nearest", "ridge"])
def test_an_audit_tells_signal_from_chance(surrogate: str) -> None:
    # 24 records on a line. Gains that rise along it are ranked far better than shuffled ones; gains of pure noise are
    # not, and their correlation is below 0 rather than at 0.
    rng = np.random.default_rng(3)
    places = line(*np.arange(24.0))
    for signal, above in ((0.01, True), (0.0, False)):
        values = 0.3 + signal * np.arange(24) + rng.normal(scale=0.01, size=24)
        records = [record((k + 1,), float(value)) for k, value in enumerate(values)]
        audit = LookupTable(records, places, params(5, surrogate=surrogate)).audit()
        chance = audit["chance"]
        assert (audit["spearman"] > chance["mean"] + 3 * chance["deviation"]) == above
        assert -0.9 < chance["mean"] < 0.1 and 0.1 < chance["deviation"] < 0.6
    assert LookupTable(records, places, params(5, surrogate=surrogate)).audit()["chance"] == chance


def test_audit_of_the_smallest_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_table, "SHUFFLES", 10)  # two records have two orders
    # Two records: each is the other's only evidence. Gains over 0.35: 0.15 and -0.15.
    for surrogate in SURROGATES:
        given = params(1, 1, surrogate=surrogate)
        audit = LookupTable([record((1,), 0.2), record((2,), 0.5)], line(0, 1), given).audit()
        assert [point["estimated"] for point in audit["points"]] == pytest.approx([0.15, -0.15], abs=1e-3)
        assert all(row["mae"] == pytest.approx(0.3, abs=1e-3) for row in audit["comparison"])
        # either way round the higher one is estimated by the lower one
        assert [audit["spearman"], audit["chance"]["mean"]] == pytest.approx([-1, -1])
        assert audit["chance"]["deviation"] == pytest.approx(0, abs=1e-9)


def test_audit_of_equal_records_has_no_correlation() -> None:
    audit = LookupTable([record((k,), 0.3) for k in (1, 2, 3)], line(0, 1, 3), params()).audit()
    assert audit["spearman"] is None
    assert audit["kendall"] is None
    assert audit["chance"] is None
    assert audit["mae"] == pytest.approx(0, abs=1e-12)


def test_audit_never_lets_a_record_price_itself() -> None:
    # Four records at one place and one neighbour: whichever FAISS lists, the record itself must not be used.
    records = [record((k,), 0.1 * k) for k in (1, 2, 3, 4)]
    points = LookupTable(records, line(0, 0, 0, 0), params(1)).audit()["points"]
    assert all(point["trained"] != point["estimated"] for point in points)


def test_a_record_survives_json() -> None:
    one = Record((3, 8), "cluster", 0.25, 12.5, "replay", 2)
    assert from_json(as_json(one), "0.json") == one
    assert "split" not in as_json(one)
    of_second = replace(one, split=2)
    assert from_json(as_json(of_second), "0.json") == of_second


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], {"ids": [1]}),
        *(
            {**as_json(record((1,), 0.2)), key: bad}
            for key, bad in [("mAP", None), ("kind", "x"), ("cycle", -1), ("split", 0)]
        ),
    ],
)
def test_what_is_no_record_is_refused(value: object) -> None:
    with pytest.raises(MgralError, match=r"proxies/0\.json: not a record"):
        from_json(value, "proxies/0.json")


def test_records_of_two_kinds_are_priced_by_their_differences() -> None:
    # Random records: unlabelled 0.3 and 0.5, mean 0.4; replay 0.1. Gains of the others: 0.45 - 0.4 and 0.3 - 0.1.
    # Query at 4, records at 3 (gain 0.05) and 5 (gain 0.2), both at distance 1: the mean, 0.125.
    records = [
        record((1,), 0.3),
        record((2,), 0.5),
        record((3,), 0.45, "class"),
        Record((5,), "class", 0.3, 1.0, "replay"),
        Record((6,), "random", 0.1, 1.0, "replay"),
    ]
    table = LookupTable(records, line(-9, -5, 3, 4, 5, 20), params(2))
    assert table.references == {(0, "replay", 1): pytest.approx(0.1), (0, "unlabelled", 1): pytest.approx(0.4)}
    assert table.price([[4], [1], [6]]).value.tolist() == pytest.approx([0.125, -0.1, 0])


def test_a_batch_that_was_drawn_twice_counts_once() -> None:
    # 1 and 2 twice: without them each held-out record is priced by its nearest other one, 0.2 by 0.3 and the like
    once = [record((1,), 0.2), record((2,), 0.3), record((3,), 0.6)]
    twins = LookupTable([*once, record((1,), 0.2), record((2,), 0.3)], line(0, 1, 3), params(1))
    plain = LookupTable(once, line(0, 1, 3), params(1))
    assert twins.records == plain.records
    assert twins.audit() == plain.audit()
    both = [record((1,), 0.2, "class"), record((1,), 0.2), record((2,), 0.3, "class")]  # the only random one
    assert LookupTable(both, line(0, 1, 3), params(1)).references == {(0, "unlabelled", 1): pytest.approx(0.2)}
    # Another training of the same batch is evidence, and a pool of one batch has no others
    assert len(LookupTable([*once, record((1,), 0.25)], line(0, 1, 3), params(1))) == 4
    assert len(LookupTable([record((1,), 0.2)] * 2, line(0, 1, 3), params(1))) == 2


def test_two_kinds_of_one_level_each_have_no_rank() -> None:
    """The gains of 0.1 and 0.2 are 0 but for rounding, which is no signal."""
    found = [record((k,), 0.1) for k in (1, 2, 3)]
    found += [Record((k,), "random", 0.2, 1.0, "replay") for k in (4, 5, 6)]
    audit = LookupTable(found, line(1, 2, 3, 4, 5, 6), params(2)).audit()
    assert (audit["spearman"], audit["kendall"], audit["chance"]) == (None, None, None)


def test_a_constant_added_to_all_records_of_a_kind_changes_no_price() -> None:
    rng = np.random.default_rng(4)
    embeddings = Embeddings(np.arange(30), rng.normal(size=(30, 8)).astype(np.float32))
    batches = [tuple(sorted(rng.choice(30, 4, replace=False).tolist())) for _ in range(12)]
    values = rng.uniform(0.2, 0.4, 12)
    pairs = list(zip(batches, values, strict=True))
    for surrogate in SURROGATES:
        low, high = (
            LookupTable(
                [record(ids, value + shift, ("random", "class")[k % 2]) for k, (ids, value) in enumerate(pairs)],
                embeddings,
                params(3, surrogate=surrogate),
            ).price([[1, 2, 3, 4], [5, 9, 20, 21]])
            for shift in (0, 0.3)
        )
        assert high.value.tolist() == pytest.approx(low.value.tolist(), abs=1e-6)
