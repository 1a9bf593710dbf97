"""What the report reads and counts: boxes by class, shares, wall times, thumbnails."""

from __future__ import annotations

import base64
import io
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image as Picture

from mgral.config.schema import Report
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image, Pick
from mgral.data.selection import Selection, write_selection
from mgral.report import (
    comparison,
    figures,
    figures_method,
    gallery,
    jobs,
    learning_curves,
    published,
    sections,
    sources,
    tables,
)
from mgral.report.comparison import Difference
from mgral.report.sources import Cell

SIGNED = "done on a at 2026-01-02T03:04:05+00:00 after 12.50 s, 3.25 s of processor time, at most 100 MiB"


def boxes(*labels: int, ignore: int = 0) -> Boxes:
    """Boxes of 40 × 40 pixels in the upper left corner; the last ``ignore`` of them are marked so."""
    count = len(labels)
    corners = np.tile(np.array([[0, 0, 40, 40]], np.float32), (count, 1))
    return Boxes(corners, np.array(labels, np.int64), np.arange(count) >= count - ignore)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three grey images of 448 × 224; image 3 has no file, image 4 no annotation."""
    for name in ("1.jpg", "2.jpg", "4.jpg"):
        Picture.new("RGB", (448, 224), "#808080").save(tmp_path / name)
    images = {i: Image(i, f"{i}.jpg", 448, 224, "train") for i in (1, 2, 3, 4)}
    truth = {1: boxes(0, 0, 1), 2: boxes(1, 1, ignore=1), 3: Boxes.empty()}
    return Dataset(("cat", "dog"), images, truth, tmp_path)


def test_boxes_by_class_leave_ignored_ones_out(dataset: Dataset) -> None:
    # cats: 2 in image 1; dogs: 1 in image 1 and the one of image 2 that is not ignored
    assert sources.box_counts(dataset, [1, 2, 3, 4]) == [2, 2]
    assert sources.box_counts(dataset, [2]) == [0, 1]


def test_ratio_of_shares() -> None:
    # picked 3 and 1 of 4: 75 % and 25 %; pool 50 and 50 of 100: 50 % each
    assert sections.ratios([3, 1], [50, 50]) == pytest.approx([1.5, 0.5])
    # a class that the pool does not hold has no ratio; nor has any if nothing was picked
    assert math.isnan(sections.ratios([4, 0], [50, 0])[1])
    assert all(math.isnan(ratio) for ratio in sections.ratios([0, 0], [50, 50]))


def test_balance_means_over_seeds() -> None:
    # seeds picked (4, 2) and (2, 0): mean 3 and 1 of 4
    table = tables.balance({"random": [[4, 2], [2, 0]]}, [30, 10], ["cat", "dog"])
    assert table.rows == [["cat", "30 (75%)", "3 (75%)"], ["dog", "10 (25%)", "1 (25%)"], ["all", "40", "4"]]


def test_timings_sum_over_jobs_longest_first(tmp_path: Path) -> None:
    for name, seconds in {"embed/a": "1.50", "train/a": "2.00", "train/b": "3.00", "train/replay/a": "0.50"}.items():
        path = tmp_path / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step 1\n{SIGNED.replace('12.50', seconds)}\n")
    (tmp_path / "logs/train/failed.log").write_text("Traceback\n")
    found = jobs.seconds_by_step(tmp_path)
    assert list(found.items()) == [("train", [2.0, 3.0]), ("embed", [1.5]), ("train/replay", [0.5])]
    assert tables.timings(found).rows[0] == ["train", "2", "2.5 s", "5.0 s"]


def test_no_timings(tmp_path: Path) -> None:
    assert jobs.seconds_by_step(tmp_path) == {}


def test_selections_are_required_before_the_last_cycle(dataset: Dataset, tmp_path: Path) -> None:
    picks = [Pick(3, 0.5, {"entropy": 1.0})]
    selection = Selection("random", "random", 0, 0, 1, picks)
    write_selection(selection, dataset, tmp_path / "random" / "seed-0" / "cycle-0" / "selected.json")
    assert sources.selections(tmp_path, ["random"], [0], 2) == [Cell("random", 0, 0, picks)]
    assert sources.selections(tmp_path, ["random"], [0], 1) == []  # there it is one for the target next
    with pytest.raises(MgralError, match=r"cycle-1/selected\.json: no such file"):
        sources.selections(tmp_path, ["random"], [0], 3)


def test_thumbnails_draw_the_truth_in_the_colour_of_its_class(dataset: Dataset) -> None:
    (row,) = gallery.rows([Cell("random", 0, 0, [Pick(2, 1.0, {"draw": 0.25})])], dataset)["random"]
    (thumbnail,) = row.thumbnails
    assert (thumbnail.content, thumbnail.reason) == ("1 dog", [("draw", "0.25")])
    assert thumbnail.data is not None
    head, code = thumbnail.data.split(",")
    assert head == "data:image/jpeg;base64"
    picture = Picture.open(io.BytesIO(base64.b64decode(code)))
    assert picture.size == (224, 112)
    # 40 pixels of 448 are 20 of 224: the right edge stands there, in the colour of dogs (#D55E00)
    red, green, blue = picture.getpixel((19, 10))
    assert red > green > blue and red - blue > 60
    assert picture.getpixel((60, 60)) == (128, 128, 128)


def test_thumbnails_without_file_or_annotation(dataset: Dataset) -> None:
    picks = [Pick(3, 1.0), Pick(4, 0.5)]
    absent, unseen = gallery.rows([Cell("random", 0, 0, picks)], dataset)["random"][0].thumbnails
    assert (absent.data, absent.content) == (None, "no box")
    assert unseen.data is not None and unseen.content == "not annotated"


def test_many_rows_show_fewer_picks(dataset: Dataset) -> None:
    # 280 thumbnails at most: 100 rows of 2
    cells = [Cell("random", 0, cycle, [Pick(3, 1.0)] * 8) for cycle in range(100)]
    rows = gallery.rows(cells, dataset)["random"]
    assert {len(row.thumbnails) for row in rows} == {2}
    assert {row.picked for row in rows} == {8}


def test_an_unknown_pick_is_named(dataset: Dataset) -> None:
    with pytest.raises(MgralError, match=r"image 9, picked by random \(seed 0, cycle 1\)"):
        gallery.rows([Cell("random", 0, 1, [Pick(9, 1.0)])], dataset)


@pytest.mark.parametrize("count", [1, 10, 11, 80])
def test_each_class_has_a_colour_of_its_own(count: int) -> None:
    assert len(set(gallery.class_colours(count))) == count


def test_looks_differ_and_the_reference_is_grey() -> None:
    names = ["entropy", "random", *"abcdefgh"]
    found = figures.looks(names, "random")
    assert list(found) == names
    assert found["random"].colour == figures.GREY
    assert len(set(found.values())) == len(names)


def test_what_a_plugin_says_of_itself() -> None:
    oracle, crowds, agent = (sources.rule(name) for name in ("oracle_rare", "most_boxes", "mgral"))
    assert (oracle.control, oracle.cheats) == ("reads the ground truth", True)
    assert (crowds.control, crowds.cheats) == ("picks crowded images", False)
    assert (agent.control, agent.cheats) == (None, False)
    assert set(agent.reasons) == {"rank", "odds", "polished", "rule", "certainty"}


def test_only_terms_that_occur_are_explained(dataset: Dataset) -> None:
    picks = [Pick(3, 1.0, {"top_class": "cat"}), Pick(4, 0.5, {"odds": 2.0, "top_class": "dog"})]
    rows = gallery.rows([Cell("a", 0, 0, picks)], dataset)["a"]
    reasons = {"odds": "of the draw", "rank": "in the pool", "top_class": "of the surest"}
    assert gallery.terms(rows, reasons) == [("odds", "of the draw"), ("top class", "of the surest")]


def test_twelve_strategies_have_colours_that_differ() -> None:
    looks = figures.looks([f"strategy_{k}" for k in range(11)] + ["random"], "random")
    colours = [look.colour for look in looks.values()]
    assert len(set(colours)) == 12
    channels = [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in colours]
    for one, other in itertools.combinations(channels, 2):
        # the nearest are #44AA99 and the grey #777777: 0xAA - 0x77 = 51 in green
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) >= 51


def test_more_strategies_than_colours_differ_in_their_markers() -> None:
    looks = figures.looks([f"strategy_{k}" for k in range(3 * len(figures.PALETTE))], None)
    assert len({look.colour for look in looks.values()}) == len(figures.PALETTE)
    assert len(set(looks.values())) == len(looks)


def test_the_best_trained_record_is_a_line_in_the_search() -> None:
    frame = pd.DataFrame({"iteration": [0, 1], "reward": [0.01, 0.05], "baseline": [0.01, 0.03]})
    points = [[{"trained": 0.01}, {"trained": 0.02}], [{"trained": -0.01}], []]
    audits = [Cell("mgral", seed, 0, {"points": own}) for seed, own in enumerate(points)]
    look = figures.Look("#0072B2", "s")
    (axes,) = figures_method.search([Cell("mgral", 0, 0, frame)], audits, look).axes
    dashed = [line.get_ydata()[0] for line in axes.lines if line.is_dashed()]
    assert dashed == [0.02, -0.01]  # one a table that has records
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [("best trained record", 0.02)]
    (plain,) = figures_method.search([Cell("mgral", 0, 0, frame)], [], look).axes
    assert not any(line.is_dashed() for line in plain.lines) and not plain.texts


@pytest.mark.parametrize("draw", [figures.curve, figures.curves_apart])
def test_the_own_detector_is_dashed_in_the_colour_of_its_strategy(draw: Callable[..., Figure]) -> None:
    rows = [
        (name, 0, cycle, 10 + 10 * cycle, 30 + 30 * cycle, value + 0.1 * cycle, value)
        for name, value in {"random": 0.1, "mi_aod": 0.2, "mi_aod:own": 0.3}.items()
        for cycle in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=learning_curves.COLUMNS)
    compared = comparison.compare(frame, "random")
    looks = figures.looks(["random", "mi_aod"], "random")
    figure = draw(frame, compared.curves, looks, "images", "mAP", own=compared.own)

    coloured = [line for line in figure.axes[0].lines if line.get_color() == looks["mi_aod"].colour]
    (dashed,) = (line for line in coloured if line.is_dashed())
    assert dashed.get_ydata() == pytest.approx([0.3, 0.4])
    whole = [line for line in coloured if line is not dashed]  # the mean, and its one seed
    assert [line.get_ydata() for line in whole] == [pytest.approx([0.2, 0.3])] * 2


def test_ways_to_price_the_same_records_are_averaged_over_tables() -> None:
    # MAE (0.01 + 0.02) / 2; rank correlation of the one table in which it is defined
    def row(surrogate: str, mae: float, spearman: float | None) -> dict[str, object]:
        return {"representation": "embedding", "surrogate": surrogate, "mae": mae, "spearman": spearman}

    audits = [[row("nearest", 0.01, 0.3), row("gp", 0.03, -0.2)], [row("nearest", 0.02, None), row("gp", 0.03, -0.4)]]
    table = tables.comparison([Cell("mgral", seed, 0, {"comparison": rows}) for seed, rows in enumerate(audits)])
    assert list(table.header) == ["representation", "nearest", "gp"]
    assert table.rows == [["embedding", "0.0150 (ρ +0.30)", "0.0300 (ρ −0.30)"]]


def test_names_at_the_ends_of_curves_do_not_touch() -> None:
    # apart enough already: where they are wanted
    assert figures.spaced([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    # three at one place: one line above, one below
    assert figures.spaced([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    # at the edges they are pushed inwards
    assert figures.spaced([0.0, 0.0], 0.1) == pytest.approx([0.0, 0.1])
    assert figures.spaced([1.0, 1.0, 1.0], 0.1) == pytest.approx([0.8, 0.9, 1.0])


def test_a_wide_interval_is_cut_and_all_else_is_shown() -> None:
    one = Difference(
        strategy="mgral", reference="random", measure="mAP", seeds=[0, 1], by_seed=[0.01, 0.03], mean=0.02, low=-0.107,
        high=0.147, p=0.3, p_holm=0.3, floor=None, verdict="undetected",
    )  # fmt: skip
    # what is seen spans 0 … 0.03; 1.5 · 0.03 = 0.045 beyond it is -0.045 … 0.075; 4 % of 0.12 is 0.0048
    assert figures._window([one], None) == pytest.approx((-0.0498, 0.0798))
    # 0 … 0.03 alone would make 0.01 look large: at least ± 0.03, and 4 % of 0.06
    narrow = one.model_copy(update={"low": 0.01, "high": 0.02})
    assert figures._window([narrow], None) == pytest.approx((-0.0324, 0.0324))


def test_every_protocol_has_its_published_curves() -> None:
    names = get_args(Report.model_fields["protocol"].annotation)
    assert {"none", "voc07+12_ssd300"} < set(names)
    for name in names:
        protocol = published.read(name)
        assert (protocol is None) == (name == "none")
        if protocol is not None:
            assert protocol.images == sorted(protocol.images)
            assert all(len(line.percent) == len(protocol.images) for line in protocol.curves)


def test_published_numbers() -> None:
    protocol = published.read("voc07+12_ssd300")
    assert protocol is not None and protocol.measure == "AP50"
    exact = {line.name: dict(zip(protocol.images, line.percent, strict=True)) for line in protocol.curves}["MI-AOD"]
    assert (exact[1000], exact[10000]) == (53.62, 74.91)
