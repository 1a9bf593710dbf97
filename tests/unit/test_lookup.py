"""The lookup table, on images whose embeddings lie on a line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from mgral.errors import MgralError
from mgral.lookup import LookupTable, represent
from mgral.params import Table
from mgral.records import as_json, from_json
from mgral.types import Embeddings, Record


def line(*places: float) -> Embeddings:
    """Images 1, 2, … at these places of a line in the plane."""
    vectors = np.array([[x, 0] for x in places], np.float32)
    return Embeddings(np.arange(1, len(places) + 1), vectors)


def params(
    neighbours: int = 2, deviations: float = 1.0, representation: Literal["embedding", "index"] = "embedding"
) -> Table:
    return Table(representation=representation, neighbours=neighbours, threshold_deviations=deviations)


def record(ids: tuple[int, ...], value: float, generator: str = "random") -> Record:
    return Record(ids, generator, value, 1.5)


def test_an_embedding_batch_is_the_mean_of_its_images() -> None:
    vectors = represent([[1, 3], [3, 2, 1]], line(0, 1, 5), "embedding")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[2.5, 0], [2, 0]]


def test_index_batches_differ_by_the_images_only_one_holds() -> None:
    vectors = represent([[1, 2, 3], [3, 4, 1]], line(0, 0, 0, 0, 0), "index")
    assert vectors.tolist() == [[1, 1, 1, 0, 0], [1, 0, 1, 1, 0]]
    table = LookupTable([record((1, 2, 3), 0.2), record((4, 5), 0.4)], line(0, 0, 0, 0, 0), params(1, 1, "index"))
    assert table.price([[1, 3, 4]]).distance.tolist() == pytest.approx([math.sqrt(2)])  # images 2 and 4


def test_neighbours_weigh_by_inverse_distance() -> None:
    # Records at 0 (0.2) and 3 (0.5), query at 1: (0.2 / 1 + 0.5 / 2) / (1 / 1 + 1 / 2) = 0.45 / 1.5 = 0.3.
    # Query at 5: distances 5 and 2: (0.2 / 5 + 0.5 / 2) / (1 / 5 + 1 / 2) = 0.29 / 0.7.
    table = LookupTable([record((1,), 0.2), record((3,), 0.5)], line(0, 1, 3, 5), params())
    price = table.price([[2], [4]])
    assert price.value.tolist() == pytest.approx([0.3, 0.29 / 0.7])
    assert price.distance.tolist() == [1, 2]


def test_only_the_nearest_m_count() -> None:
    table = LookupTable([record((1,), 0.2), record((3,), 0.5), record((4,), 0.9)], line(0, 1, 3, 9), params(1))
    assert table.price([[2]]).value.tolist() == [0.2]


def test_more_neighbours_than_records_are_all_records() -> None:
    few = LookupTable([record((1,), 0.2), record((3,), 0.5)], line(0, 1, 3), params(50))
    assert few.price([[2]]).value.tolist() == pytest.approx([0.3])


def test_an_exact_hit_is_that_record_and_never_far() -> None:
    # 100 deviations below the mean: the threshold is negative, and every batch that is no hit is far.
    records = [record((1,), 0.2), record((3,), 0.5), record((4,), 0.9)]
    table = LookupTable(records, line(0, 1, 3, 9), params(3, 100))
    price = table.price([[3], [2]])
    assert price.value[0] == 0.5
    assert price.distance[0] == 0
    assert price.far.tolist() == [False, True]


def test_several_exact_hits_are_averaged() -> None:
    # Images 1 and 2 stand at the same place: (0.2 + 0.3) / 2.
    records = [record((1,), 0.2), record((2,), 0.3), record((3,), 0.9)]
    assert LookupTable(records, line(0, 0, 4), params(3)).price([[1]]).value.tolist() == [0.25]


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
    assert together.value[:25].tolist() == pytest.approx([0.01 * k for k in range(25)])


def test_order_within_a_batch_is_of_no_account() -> None:
    # (1e20 + 1) - 1e20 = 0 in float64, (1e20 - 1e20) + 1 = 1
    first, other = represent([[1, 2, 3], [1, 3, 2]], line(1e20, 1, -1e20), "embedding")
    assert first.tolist() == other.tolist() == [0, 0]


def test_an_added_record_is_as_if_always_there() -> None:
    embeddings = line(0, 1, 3, 7)
    records = [record((2,), 0.3), record((4,), 0.4)]
    table = LookupTable(records, embeddings, params())
    table.add(record((1,), 0.2, "search"))
    built = LookupTable([record((1,), 0.2, "search"), *records], embeddings, params())
    assert table.records == built.records
    assert table.threshold == built.threshold
    assert table.price([[1], [3]]).value.tolist() == built.price([[1], [3]]).value.tolist()
    assert table.price([[1]]).value.tolist() == [0.2]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[LookupTable, Embeddings, Path]:
    rng = np.random.default_rng(1)
    embeddings = Embeddings(np.arange(10, 30), rng.normal(size=(20, 256)).astype(np.float32))
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
        ([record((1,), 0.2)], "at least 2 records, not 1; raise proxy.records"),
        ([record((1,), 0.2), record((1, 9), 0.2)], r"random \(images 1, 9\): image 9 is not in the pool"),
        ([record((1,), 0.2), record((2, 2), 0.2)], r"\(images 2, 2\): holds an image twice"),
        ([record((1,), 0.2), record((), 0.2)], "holds no image"),
        ([record((1,), 0.2), record((2,), 1.2)], r"mAP is 1.2, not in 0\.\.1"),
        ([record((1,), 0.2), record((2,), math.nan)], r"mAP is nan, not in 0\.\.1"),
        ([record((1,), 0.2), Record((2,), "random", 0.2, math.inf)], "seconds is inf"),
    ],
)
def test_unfit_records_are_refused(records: list[Record], message: str) -> None:
    with pytest.raises(MgralError, match=message):
        LookupTable(records, line(0, 1, 2), params())


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[1], [7]], "batch 1: image 7 is not in the pool"),
        ([[1, 1]], "batch 0: holds an image twice"),
        ([[]], "batch 0: holds no image"),
        ([], "no batch"),
        ([[1], [3]], "batch 1: has an embedding that is not finite"),
    ],
)
def test_unfit_batches_are_refused(batches: list[list[int]], message: str) -> None:
    with pytest.raises(MgralError, match=message):
        represent(batches, line(0, 1, math.nan), "embedding")


def test_an_unknown_representation_is_refused() -> None:
    with pytest.raises(MgralError, match="did you mean 'embedding'"):
        represent([[1]], line(0), "embeding")


def test_audit_leaves_one_out() -> None:
    # Records at 0, 1, 3, 4 with 0.1, 0.2, 0.5, 0.4, one neighbour: estimates 0.2, 0.1, 0.4, 0.5, each 0.1 off.
    # Mean of the others: 1.1/3, 1.0/3, 0.7/3, 0.8/3; errors 0.8/3, 0.4/3, 0.8/3, 0.4/3; mean 0.2.
    # Ranks 1 2 4 3 against 2 1 3 4: Spearman 1 - 6 * 4 / (4 * 15) = 0.6; Kendall (4 - 2) / 6.
    # Mean 0.3, variance (0.04 + 0.01 + 0.04 + 0.01) / 4. Pairs 1 3 4 2 3 1: mean 14/6, mean square 40/6.
    places, values = line(0, 1, 3, 4), [0.1, 0.2, 0.5, 0.4]
    records = [record((k + 1,), value, f"g{k}") for k, value in enumerate(values)]
    audit = LookupTable(records, places, params(1)).audit()
    assert audit["points"] == [
        {"generator": "g0", "trained": 0.1, "estimated": 0.2},
        {"generator": "g1", "trained": 0.2, "estimated": 0.1},
        {"generator": "g2", "trained": 0.5, "estimated": 0.4},
        {"generator": "g3", "trained": 0.4, "estimated": 0.5},
    ]
    assert audit["mae"] == pytest.approx(0.1)
    assert audit["mae_mean"] == pytest.approx(0.2)
    assert audit["spearman"] == pytest.approx(0.6)
    assert audit["kendall"] == pytest.approx(1 / 3)
    assert audit["spread"] == pytest.approx(math.sqrt(0.025))
    assert audit["threshold"] == pytest.approx(14 / 6 - math.sqrt(40 / 6 - (14 / 6) ** 2))
    assert (audit["records"], audit["neighbours"], audit["representation"]) == (4, 1, "embedding")
    assert audit["far"] == 0  # each has another at distance 1, the threshold is 1.23
    assert LookupTable(records, places, params(1, 2)).audit()["far"] == 1  # the threshold is 0.12


def test_audit_of_equal_records_has_no_correlation() -> None:
    audit = LookupTable([record((k,), 0.3) for k in (1, 2, 3)], line(0, 1, 3), params()).audit()
    assert audit["spearman"] is None
    assert audit["kendall"] is None
    assert audit["mae"] == pytest.approx(0, abs=1e-12)


def test_audit_never_lets_a_record_price_itself() -> None:
    # Four records at one place and one neighbour: whichever FAISS lists, the record itself must not be used.
    records = [record((k,), 0.1 * k) for k in (1, 2, 3, 4)]
    points = LookupTable(records, line(0, 0, 0, 0), params(1)).audit()["points"]
    assert all(point["trained"] != point["estimated"] for point in points)


def test_a_record_survives_json() -> None:
    one = Record((3, 8), "cluster", 0.25, 12.5)
    assert from_json(as_json(one), "0.json") == one


@pytest.mark.parametrize("value", [None, [], {"ids": [1]}, {**as_json(record((1,), 0.2)), "mAP": None}])
def test_what_is_no_record_is_refused(value: object) -> None:
    with pytest.raises(MgralError, match=r"proxies/0\.json: not a record"):
        from_json(value, "proxies/0.json")
