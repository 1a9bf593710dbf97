"""Records of earlier cycles in a table: gains over their own cycle's level, and an audit of the table's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tables import line, params
from worlds import scattered

from mgral import cli
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.core.types import Embeddings, Record
from mgral.detection import npz_files
from mgral.report import tables
from mgral.report.sources import Cell
from mgral.reward import bayes, lookup_table, records
from mgral.reward.batch_features import REPRESENTATIONS
from mgral.reward.growth import FEATURES, World, Worlds
from mgral.reward.lookup_table import LookupTable
from mgral.reward.surrogates import SURROGATES
from mgral.reward.table_files import read_records


@pytest.fixture(autouse=True)
def few_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is a signal is not asked here, and shuffles are most of the time of an audit."""
    monkeypatch.setattr(lookup_table, "SHUFFLES", 10)
    monkeypatch.setattr(bayes, "SHUFFLES", 39)


def record(cycle: int, ids: tuple[int, ...], value: float, generator: str = "random") -> Record:
    return Record(ids, generator, value, 1.0, "unlabelled", cycle)


# Images 1 … 6 at 0, 10 … 50. Random batches of cycle 0 reach 0.2 and 0.3: 0.25; of cycle 1, 0.6 and 0.8: 0.7.
PLACES = line(0, 10, 20, 30, 40, 50, 25)
EARLIER = [record(0, (1,), 0.2), record(0, (2,), 0.3), record(0, (3,), 0.4, "class")]
OWN = [record(1, (4,), 0.6), record(1, (5,), 0.8), record(1, (6,), 0.75, "class")]


def test_a_carried_record_is_a_gain_over_its_own_cycle() -> None:
    table = LookupTable([*EARLIER, *OWN], PLACES, params())
    assert table.cycle == 1
    assert table.own == tuple(OWN)
    assert table.references == {(0, "unlabelled", 1): pytest.approx(0.25), (1, "unlabelled", 1): pytest.approx(0.7)}
    price = table.price([[3], [1], [4], [6], [7]])
    # The first four have records: 0.4 - 0.25, 0.2 - 0.25, 0.6 - 0.7, 0.75 - 0.7. The last is 5 from the records at 20
    # and at 30, of a cycle each: the mean of 0.15 and -0.1.
    assert price.value.tolist() == pytest.approx([0.15, -0.05, -0.1, 0.05, 0.025])
    assert price.distance.tolist() == [0, 0, 0, 0, 5]


def test_of_two_records_as_near_both_count() -> None:
    # Image 2 is 10 from records at 0 and at 20: one of this cycle, 0.1 over the mean of 0.5 and 0.7, and one carried,
    # 0.15 below the mean of 0.1 and 0.4. With one neighbour they tie, and their mean is taken.
    table = LookupTable(
        [*(record(0, (k,), 0.1 * k) for k in (1, 4)), *(record(1, (k,), v) for k, v in [(3, 0.7), (5, 0.5)])],
        PLACES,
        params(1),
    )
    assert table.price([[2]]).value.tolist() == pytest.approx([-0.025])


def test_what_the_search_adds_is_a_gain_over_the_tables_cycle() -> None:
    table = LookupTable([*EARLIER, *OWN], PLACES, params())
    added = record(1, (7,), 0.9, "search")
    table.add(added)
    assert table.gain(added) == pytest.approx(0.2)
    assert table.price([[7]]).value.tolist() == pytest.approx([0.2])
    with pytest.raises(MgralError, match="at least 2 records of its cycle, not 1"):
        table.add(record(2, (2,), 0.9, "search"))  # a proxy of another cycle has nothing to be compared with


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_level_of_an_earlier_cycle_changes_no_price(surrogate: str) -> None:
    rng = np.random.default_rng(4)
    embeddings = Embeddings(np.arange(30), rng.normal(size=(30, 8)).astype(np.float32))
    batches = [tuple(sorted(rng.choice(30, 4, replace=False).tolist())) for _ in range(12)]
    values = rng.uniform(0.2, 0.4, 12)
    low, high = (
        LookupTable(
            [
                record(k % 3, ids, value + shift * (k % 3 == 0), ("random", "class")[k % 2])
                for k, (ids, value) in enumerate(zip(batches, values, strict=True))
            ],
            embeddings,
            params(3, surrogate=surrogate),
        ).price([[1, 2, 3, 4], [5, 9, 20, 21]])
        for shift in (0, 0.3)
    )
    assert high.value.tolist() == pytest.approx(low.value.tolist(), abs=1e-6)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_batches_of_images_that_have_been_labelled_since_are_described(representation: str) -> None:
    """The embeddings are of labelled and unlabelled images alike: nothing distinguishes the batches of cycle 0."""
    rng = np.random.default_rng(1)
    vectors, objects = rng.normal(size=(30, 16)).astype(np.float32), rng.random((30, 3)).astype(np.float32)
    embeddings = Embeddings(np.arange(10, 40), vectors, objects)
    batches = [tuple(range(start, start + 4)) for start in range(10, 38, 4)]
    found = [record(k // 4, ids, 0.1 * (k + 1)) for k, ids in enumerate(batches)]
    table = LookupTable(found, embeddings, params(2, representation=representation))
    # 0.1 … 0.4 in cycle 0, less 0.25; 0.5 … 0.7 in cycle 1, less 0.6
    assert table.price(batches).value.tolist() == pytest.approx([-0.15, -0.05, 0.05, 0.15, -0.1, 0, 0.1])


# Own records at 0 and 3 with 0.4 and 0.6, gains -0.1 and 0.1. Carried ones at 1 and 4 with 0.1 and 0.3: the same.
AUDITED = line(0, 1, 3, 4)
FOUND = [record(1, (1,), 0.4), record(1, (3,), 0.6)]
CARRIED = [record(0, (2,), 0.1), record(0, (4,), 0.3)]


def test_the_audit_prices_the_own_records_by_all_others() -> None:
    # By the nearest one: 0 by 1, and 3 by 4, without error. Alone, each by the other: 0.2 off.
    alone = LookupTable(FOUND, AUDITED, params(1)).audit()
    audit = LookupTable([*FOUND, *CARRIED], AUDITED, params(1)).audit()
    assert (alone["records"], alone["carried"]) == (2, 0)
    assert (audit["records"], audit["carried"]) == (2, 2)
    assert (alone["mae"], audit["mae"]) == (pytest.approx(0.2), pytest.approx(0))
    assert (alone["spearman"], audit["spearman"]) == (pytest.approx(-1), pytest.approx(1))
    assert alone["mae_mean"] == audit["mae_mean"] == pytest.approx(0.2)  # each by the other, whatever is carried
    assert alone["spread"] == audit["spread"] == pytest.approx(0.1)
    assert [point["trained"] for point in audit["points"]] == pytest.approx([-0.1, 0.1])
    assert [point["estimated"] for point in audit["points"]] == pytest.approx([-0.1, 0.1])
    row = next(
        row for row in audit["comparison"] if (row["representation"], row["surrogate"]) == ("embedding", "nearest")
    )
    assert {key: row[key] for key in ("mae", "spearman", "kendall", "far")} == {
        key: audit[key] for key in list(row)[2:]
    }


@pytest.fixture
def cycles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cycles 0 to 2 as the workflow lays them out, of which cycle 2 carries the other two. In cycle 0 the search has
    trained a proxy."""
    monkeypatch.chdir(tmp_path)
    Path("p.json").write_text(json.dumps({"table": params(1).model_dump()}))
    npz_files.write_embeddings(Embeddings(AUDITED.ids, np.repeat(AUDITED.vectors[:, :1], 256, axis=1)), "e.npz")
    for cycle in (0, 1, 2):
        for k, (image, value) in enumerate([(1, 0.2), (2, 0.3), (3, 0.4)]):
            records.write(record(cycle, (image,), value + 0.1 * cycle), f"cycle-{cycle}/proxies/{k}.json")
        added = [record(0, (4,), 0.5, "search")] if cycle == 0 else []
        write_json(f"cycle-{cycle}/added.json", [records.as_json(one) for one in added])
    return tmp_path


def table(*options: str, of: int, out: str = "", order: tuple[int, ...] = (0, 1, 2)) -> int:
    own = [f"cycle-{of}/proxies/{k}.json" for k in order]
    command = ["table", "--params", "p.json", "--embeddings", "e.npz", "--records", *own, *options]
    return cli.main([*command, "--out", out or f"cycle-{of}/table"])


def carried(*cycles: int) -> list[str]:
    return ["--carried", *(f"cycle-{c}/{name}" for c in cycles for name in ("table/records.parquet", "added.json"))]


def test_each_cycle_gives_its_own_records_and_those_of_its_search(
    cycles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table(of=0) == table(*carried(0), of=1) == table(*carried(0, 1), of=2) == 0
    found = read_records(Path("cycle-2/table/records.parquet"))
    # three of each cycle, once though cycle 1's table holds those of cycle 0 as well, and the search's
    assert [(one.cycle, one.ids) for one in found] == [
        *((2, (k,)) for k in (1, 2, 3)),
        *((1, (k,)) for k in (1, 2, 3)),
        *((0, (k,)) for k in (1, 2, 3, 4)),
    ]
    audit = read_json("cycle-2/table/audit.json")
    assert (audit["records"], audit["carried"], len(audit["points"])) == (3, 7, 3)
    assert audit["kinds"]["unlabelled"]["records"] == 3
    assert audit["kinds"]["unlabelled"]["reference"] == pytest.approx(0.5)  # 0.2, 0.3, 0.4 and 0.1 a cycle
    rows = tables.audits(
        [Cell("mgral", 0, cycle, read_json(f"cycle-{cycle}/table/audit.json")) for cycle in (0, 2)]
    ).rows
    assert [row[:3] for row in rows] == [["0", "0", "3"], ["2", "0", "3 + 7"]]
    capsys.readouterr()
    assert cli.main(["show", "cycle-2/table/audit.json"]) == 0
    assert capsys.readouterr().out.startswith("3 records and 7 of earlier cycles, mAP spread")


def test_the_order_of_arguments_does_not_show(cycles: Path) -> None:
    assert table(of=0) == table(of=1) == 0
    option, *files = carried(0, 1)
    assert table(option, *files, of=2, out="one") == table(option, *files[::-1], of=2, out="two", order=(2, 0, 1)) == 0
    for name in ("records.parquet", "index.faiss", "audit.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--carried", "cycle-1/table/records.parquet"],
            "records.parquet is of cycle 1; name files of cycles before 1",
        ),
        (["--carried", "cycle-0/proxies/0.json"], "0.json: not a list of records; run `mgral search` again"),
        (["--carried", "cycle-0/table/none.parquet"], "none.parquet: no such file; make it with `mgral table`"),
        (["--records", "cycle-1/proxies/0.json", "cycle-0/proxies/1.json"], "1.json is of cycle 0, others of 1; name"),
    ],
)
def test_unfit_files_are_named(options: list[str], says: str, cycles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(of=0) == table(of=1) == 0
    capsys.readouterr()
    assert table(*options, of=1, out="out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not Path("out").exists()


def test_ap_by_class_is_kept_and_records_without_it_are_read(tmp_path: Path) -> None:
    one = Record((3, 8), "random", 0.25, 1.0, "replay", 0, per_class=(0.25, None))
    old = {key: value for key, value in records.as_json(one).items() if key != "per_class"}
    assert records.from_json(records.as_json(one), "x") == one
    assert records.from_json(old, "x").per_class is None
    with pytest.raises(MgralError, match="not a record"):
        records.from_json({**old, "per_class": ["much"]}, "x")


def growing(cycle: int, pool: World, values: list[float], shift: float = 0.0) -> list[Record]:
    """Records of random batches of three images, one a value; AP of two classes, the second 0.1 lower."""
    rng = np.random.default_rng(cycle)
    found = []
    for value in values:
        ids = tuple(sorted(rng.choice(pool.ids, 3, replace=False).tolist()))
        level = value + shift
        found.append(Record(ids, "random", level, 1.0, "unlabelled", cycle, per_class=(level + 0.05, level - 0.05)))
    return found


def test_records_of_two_cycles_are_described_by_the_pools_of_their_own() -> None:
    """A carried record keeps the numbers that the table of its cycle gave it, and its gain over that cycle's level."""
    first, second = scattered(40, 2, seed=1), scattered(40, 2, seed=2)
    section = params(representation="growth", surrogate="bayes")
    everything = Embeddings(first.ids, first.vectors)
    early = LookupTable(growing(0, first, [0.1, 0.3, 0.2]), everything, section, worlds=Worlds(first))
    late = growing(1, second, [0.5, 0.6, 0.7, 0.8])
    table = LookupTable([*early.records, *late], everything, section, worlds=Worlds(second))
    assert (len(table.own), len(table), table.left_out) == (4, 7, 0)
    for one in table.records:
        pool = second if one.cycle == 1 else first
        assert one.vector == pytest.approx(pool.features([one.ids]).ravel(), abs=1e-6)
        other = first if one.cycle == 1 else second
        assert not np.allclose(one.vector, other.features([one.ids]).ravel(), atol=1e-3)
    assert sorted(table.gain(one) for one in table.records if one.cycle == 0) == pytest.approx([-0.1, 0, 0.1])
    assert sorted(map(table.gain, table.own)) == pytest.approx([-0.15, -0.05, 0.05, 0.15])
    # what was never described, by an earlier version or in a search, cannot be: its pool is gone
    plain = LookupTable([*growing(0, first, [0.1, 0.3]), *late], everything, section, worlds=Worlds(second))
    assert (len(plain), plain.left_out) == (4, 2)


def test_the_level_of_a_carried_cycle_moves_no_weight_of_the_price() -> None:
    first, second = scattered(40, 2, seed=1), scattered(40, 2, seed=2)
    section = params(representation="growth", surrogate="bayes")
    everything = Embeddings(first.ids, first.vectors)

    def priced(shift: float, carried: bool = True) -> list[float]:
        found = []
        for cycle, pool in enumerate((first, second)):
            some = growing(cycle, pool, [0.4] * 12)
            numbers = pool.features([one.ids for one in some])[:, :, FEATURES.index("learnable")].mean(axis=1)
            levels = 0.4 + 0.3 * numbers + (shift if cycle == 0 else 0)
            of_cycle = [
                replace(one, mAP=float(level), per_class=(float(level), float(level)))
                for one, level in zip(some, levels, strict=True)
            ]
            described = LookupTable(of_cycle, everything, section, worlds=Worlds(pool)).records
            found += described if carried or cycle == 1 else ()
        weights = LookupTable(found, everything, section, worlds=Worlds(second)).weights
        assert weights is not None
        return weights.mean.tolist()

    assert priced(0.3) == pytest.approx(priced(0.0), abs=1e-9)
    assert priced(0.0) != pytest.approx(priced(0.0, carried=False), abs=1e-4)


def test_records_of_two_splits_are_compared_with_those_of_their_own() -> None:
    # Random records: 0.3 and 0.5 of split 1, mean 0.4; 0.1 of split 2. The same batch may be in both.
    found = [Record((k,), "random", level, 1.0, "replay") for k, level in ((1, 0.3), (2, 0.5))]
    found += [Record((1,), "random", 0.1, 1.0, "replay", split=2), Record((3,), "class", 0.3, 1.0, "replay", split=2)]
    table = LookupTable(found, line(-9, -5, 3), params(1))
    assert table.references == {(0, "replay", 1): pytest.approx(0.4), (0, "replay", 2): pytest.approx(0.1)}
    assert [(one.split, table.gain(one)) for one in table.records] == [
        *((1, pytest.approx(-0.1)), (2, pytest.approx(0)), (1, pytest.approx(0.1)), (2, pytest.approx(0.2))),
    ]
    assert table.price([[3]]).value == pytest.approx([0.2])
    assert lookup_table._groups(table.records).tolist() == [0, 1, 0, 1]  # among which gains are shuffled
    with pytest.raises(MgralError, match="no replay record of cycle 0, split 2 is of a random batch"):
        LookupTable([*found[:2], found[3]], line(-9, -5, 3), params(1))
