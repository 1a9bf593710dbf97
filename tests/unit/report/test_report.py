"""The report of a small run: whole, alone in one file, well formed, the same bytes each time."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from report_runs import FINAL, STAMP, Page, Report, build, compare

from mgral.config.schema import Params
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.core.types import Embeddings, Pick
from mgral.data import dataset_json
from mgral.data.selection import Selection, write_selection
from mgral.detection import npz_files
from mgral.report import sections
from mgral.report.learning_curves import cycle_folder

pytestmark = pytest.mark.slow


def test_the_page_stands_alone(report: Report) -> None:
    assert report.page.references
    assert all(reference.startswith("data:image/") for reference in report.page.references)
    assert not re.search(r"https?://|@import|url\(|<script|<link", report.html)


def test_every_part_is_there(report: Report) -> None:
    page = report.page
    # random ends at 0.30 and 0.32, mgral at 0.34 and 0.36001: hardly more than +0.04 in both seeds
    assert "mgral is best: 0.350 test mAP with 4 labelled images, +0.040 compared with random." in page.text
    assert "(control" not in page.text and "controls" not in page.text
    assert "mgral better than random by 0.020 (95 % interval +0.020 to +0.020, 2 seeds)" in page.text
    assert "mgral +0.040 +0.040 +0.040 +0.040 to +0.040 < 0.001 better" in page.text
    # areas by trapezoids: (0.2 + 0.3)/2 = 0.25 and (0.2 + 0.32)/2 = 0.26
    assert "random 0.310 ± 0.014 0.620 ± 0.028 0.255 ± 0.007 0.255 ± 0.007 2" in page.text
    for part in (
        "The lookup table",
        "odds : how many times likelier than by chance the policy would draw this image first cycle 0",
        "odds: 1.23",
        "top class: cat",
        "cycle 0: 2 picks",
        "train 1 12.5 s 12.5 s",
        "a.json, annotation 7: no width",
        "1 item dropped at import",
        "2 boxes moved by at most one pixel",
        "experiment: demo",
        "<dog> & co",
    ):
        assert part in page.text, part


@pytest.mark.usefixtures("unrendered")
def test_who_reads_the_ground_truth_is_marked_and_does_not_lead(run: Path, params: Params) -> None:
    strategies = ["random", {"name": "mgral", "plugin": "oracle_rare"}]
    page, _ = build(run, Params.parse({**params.model_dump(mode="json"), "strategies": strategies}, "test:"))
    assert "random reaches 0.310 test mAP with 4 labelled images" in page.text
    assert "mgral reads the ground truth and does not compete: 0.350 (+0.040)." in page.text
    assert "Controls, not contenders: mgral (reads the ground truth)." in page.text
    # in the table of results: 0.34 and 0.36
    assert "mgral (control: reads the ground truth) 0.350 ± 0.014" in page.text


@pytest.mark.usefixtures("unrendered")
def test_far_batches_are_called_extrapolated(run: Path, params: Params, report: Report) -> None:
    # 1 of 4 batches an iteration is far
    assert "are extrapolated" not in report.page.text
    path = cycle_folder(run, "mgral", 1, 0) / "search.csv"
    path.write_text(path.read_text().replace(",4,0,1,0.5", ",4,0,3,0.5"))
    page, _ = build(run, params)
    assert (
        "75 % of the batches in 1 of 2 searches are far from every record: their predicted gains are extrapolated."
        in page.text
    )


def test_every_figure_is_written(report: Report) -> None:
    folder = report.run / "figures"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "curve.png", "curve_boxes.png", "curve_ap50.png", "curve_ap50_boxes.png", "per_class.png",
        "difference_random_mAP.png", "difference_random_auc_images.png", "difference_random_auc_boxes.png",
        "class_balance.png", "table_mgral.png", "search_mgral.png", "predicted_mgral.png", "timings.png",
        "box_sizes.png",
    }  # fmt: skip
    for name in names:
        with Picture.open(folder / name) as picture:
            assert picture.format == "PNG" and picture.width == 736  # 4.6 inches of 160 pixels


def test_equal_runs_are_equal_bytes(report: Report, params: Params, tmp_path: Path) -> None:
    sections.build(report.run, params, tmp_path / "again.html", tmp_path / "figures", STAMP)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == report.html
    drawn, again = (
        {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} for folder in (report.run, tmp_path)
    )
    assert again == drawn


@pytest.mark.usefixtures("unrendered")
def test_optional_files_may_be_absent(run: Path, params: Params) -> None:
    shutil.rmtree(run / "logs")
    for seed in (0, 1):
        shutil.rmtree(cycle_folder(run, "mgral", seed, 0) / "table")
        (cycle_folder(run, "mgral", seed, 0) / "search.csv").unlink()
    page, _ = build(run, params)
    assert "Inside mgral" not in page.text
    assert "No timings" in page.text


@pytest.mark.usefixtures("unrendered")
def test_a_single_cycle_has_no_picks(run: Path, params: Params) -> None:
    single = params.model_copy(update={"cycles": 1})
    for path in run.glob("*/seed-*/cycle-0/selected.json"):
        path.unlink()
    compare(run, list(FINAL), cycles=1)
    page, _ = build(run, single)
    assert "What was picked" not in page.text
    assert "random 0.200 ± 0.000 0.400 ± 0.000 – – 2" in page.text
    assert "The run has a single cycle: the first detector reaches 0.200 test mAP (± 0.000 over 2 seeds)." in page.text
    assert "which all strategies share: nothing to compare." in page.text
    assert "detectable difference" not in page.text and "Compared with random" not in page.text


def test_many_strategies_have_panels_of_their_own(run: Path, params: Params, render: Callable[..., None]) -> None:
    render("curve_apart", "curve_boxes_apart")
    names = ["random", "entropy", "coreset", "cdal", "ebal", "mgral"]
    for name in names[1:-1]:
        shutil.copytree(run / "random", run / name)
    compare(run, names, cycles=2, noise={"mAP": {"deviation": 0.01}})
    many = Params.parse({**params.model_dump(mode="json"), "strategies": names}, "test:")
    page, _ = build(run, many)
    assert "Each strategy by itself" in page.text
    assert drawn(run) == {"curve_apart.png", "curve_boxes_apart.png"}
    assert "Compared with random, which is also the best baseline" in page.text
    assert "corrected for the 5 comparisons of a table" in page.text


def test_a_strategy_s_own_detector_is_shown_and_compared_with_nothing(
    run: Path, params: Params, report: Report
) -> None:
    strategies = ["random", {"name": "mgral", "plugin": "mi_aod", "options": {"report": "own"}}]
    given = Params.parse({**params.model_dump(mode="json"), "strategies": strategies}, "test:")
    before = {path.name: path.read_bytes() for path in (report.run / "figures").iterdir()}
    assert ":own" not in report.page.text
    for seed in (0, 1):
        for cycle in (0, 1):  # ends at 0.5 and 0.7, above all others
            scores = {"mAP": 0.4 + cycle * (0.1 + 0.2 * seed), "AP50": 0.8, "per_class": {}}
            content = {"cycle": cycle, "images": 2 + 2 * cycle, "boxes": 2 + 2 * cycle, "val": scores, "test": scores}
            write_json(cycle_folder(run, "mgral", seed, cycle) / "own.json", content)
    with pytest.raises(MgralError, match=r"comparison\.json: of other strategies or seeds"):
        build(run, given)
    compare(run, ["random", "mgral", "mgral:own"], cycles=2)
    page, html = build(run, given)
    # 0.6 and √(2 · 0.1²) = 0.141; areas (0.4 + 0.5)/2 = 0.45 and (0.4 + 0.7)/2 = 0.55
    assert "mgral:own 0.600 ± 0.141 0.800 ± 0.000 0.500 ± 0.071 0.500 ± 0.071 2" in page.text
    assert "mgral:own (dashed in the figures): test mAP of the strategy's detector, as its paper" in page.text
    assert html.count("mgral:own") == 2  # in the table, and in the sentence below it
    assert "mgral is best: 0.350 test mAP" in page.text
    changed = {path.name for path in (run / "figures").iterdir() if path.read_bytes() != before.get(path.name)}
    assert changed == {"curve.png", "curve_boxes.png", "curve_ap50.png", "curve_ap50_boxes.png"}


def test_published_curves_are_labelled_as_such(
    run: Path, params: Params, report: Report, render: Callable[..., None]
) -> None:
    render("curve_ap50")
    assert "published" not in report.page.text.partition("Parameters")[0]
    before = (report.run / "figures/curve_ap50.png").read_bytes()
    protocol = Params.parse({**params.model_dump(mode="json"), "report": {"protocol": "voc07+12_ssd300"}}, "test:")
    page, _ = build(run, protocol)
    assert "published curves (SSD300, VOC07+12, AP50), read off figures to about ± 0.3 points (MI-AOD: as printed)" in (
        page.text
    )
    assert drawn(run) == {"curve_ap50.png"} and (run / "figures/curve_ap50.png").read_bytes() != before


def test_a_comparison_of_other_strategies_is_refused(run: Path, params: Params) -> None:
    compare(run, ["random"], cycles=2)
    with pytest.raises(MgralError, match=r"comparison\.json: of other strategies or seeds"):
        build(run, params)


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(
    "name", ["mgral/seed-1/cycle-1/metrics.json", "mgral/seed-1/cycle-0/selected.json", "comparison.json"]
)
def test_a_missing_required_file_is_named(run: Path, params: Params, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(MgralError, match=rf"{name}: no such file") as error:
        build(run, params)
    assert "\n" not in str(error.value)
    assert not (run / "report.html").exists()


@pytest.mark.usefixtures("unrendered")
def test_classes_of_another_data_set_are_refused(run: Path, params: Params) -> None:
    path = run / "random" / "seed-0" / "cycle-1" / "metrics.json"
    metrics = read_json(path)
    metrics["test"]["per_class"] = {"horse": 0.2}
    write_json(path, metrics)
    with pytest.raises(MgralError, match=r"metrics\.json: test\.per_class must name the classes"):
        build(run, params)


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("search.csv", "iteration\n1\n", "not a search"),
        ("table/audit.json", "{}", "has no key 'records'"),
    ],
)
def test_damaged_optional_files_are_named(run: Path, params: Params, name: str, text: str, complaint: str) -> None:
    (cycle_folder(run, "mgral", 0, 0) / name).write_text(text)
    with pytest.raises(MgralError, match=complaint):
        build(run, params)


def test_a_class_named_like_a_formula_is_drawn(run: Path, params: Params, render: Callable[..., None]) -> None:
    named = ("per_class", "class_balance", "box_sizes", "table_mgral")
    render(*named)
    odd = r"$\foo$"
    for path in [run / "dataset/dataset.json", *run.glob("*/seed-*/cycle-*/metrics.json")]:
        path.write_text(path.read_text().replace("<dog> & co", odd.replace("\\", "\\\\")))
    page, _ = build(run, params)
    assert odd in page.text
    assert drawn(run) == {f"{name}.png" for name in named}


def drawn(run: Path) -> set[str]:
    """The figures that were rendered."""
    return {path.name for path in (run / "figures").iterdir() if path.read_bytes()}


def test_the_stamp_is_at_the_top(report: Report) -> None:
    assert "mgral 0.1.0 commit abc123 made 2026-11-26 command: snakemake --cores all " in report.page.text


@pytest.mark.usefixtures("unrendered")
def test_the_next_batch_is_listed(run: Path, params: Params, report: Report) -> None:
    assert "The next batch" not in report.page.text
    dataset = dataset_json.read(run / "dataset" / "dataset.json")
    selection = Selection("mgral", "mgral", 0, 1, 2, [Pick(5, 0.25, {"odds": 7.0}), Pick(6, 0.125, {})])
    write_selection(selection, dataset, cycle_folder(run, "mgral", 0, 1) / "selected.json")
    page, _ = build(run, params)
    assert "mgral , seed 0: 2 images" in page.text or "mgral, seed 0: 2 images" in page.text
    assert "1 5.jpg 0.25 7 2 6.jpg 0.125 –" in page.text


@pytest.mark.usefixtures("unrendered")
def test_training_and_embeddings_are_shown_where_they_were_kept(run: Path, params: Params) -> None:
    for strategy in FINAL:
        here = cycle_folder(run, strategy, 0, 0)
        (here / "train.csv").write_text("step,loss\n0,2.5\n1,1.5\n")
    vectors = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    npz_files.write_embeddings(
        Embeddings(np.arange(1, 11), vectors), cycle_folder(run, "mgral", 0, 0) / "embeddings.npz"
    )
    page, _ = build(run, params)
    assert "Where the picks lie" in page.text and "Training loss of the detector, seed 0" in page.text
    assert {"losses.png", "embeddings.png"} <= {path.name for path in (run / "figures").iterdir()}


def test_predicted_and_realised_gain(report: Report) -> None:
    # rewards 0.218 and 0.219 in the last tenth of 20; mgral gains 0.14 and 0.16001, random 0.10 and 0.12
    assert "2 chosen batches: predicted gain +0.218 mAP on average, realised +0.040." in report.page.text.replace(
        "+0.219", "+0.218"
    )


@pytest.mark.usefixtures("unrendered")
def test_one_of_anything_is_not_many(run: Path, params: Params) -> None:
    for strategy, seed in itertools.product(FINAL, (0, 1)):
        path = cycle_folder(run, strategy, seed, 0) / "selected.json"
        selection = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**selection, "budget": 1, "picks": selection["picks"][:1]}), encoding="utf-8")
    dataset = json.loads((run / "dataset" / "dataset.json").read_text(encoding="utf-8"))
    dataset["info"]["clipped"] = 1
    (run / "dataset" / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    budget = params.budget.model_copy(update={"initial": 1, "batch": 1})
    text = build(run, params.model_copy(update={"budget": budget}))[0].text
    words = "image|box|pick|seed|cycle|batch|comparison|table|item|record|class"
    assert not re.findall(rf"\b1 (?:{words})(?:s|es)\b(?! \()", text.split("Imported:")[0])
    assert "cycle 0: 1 pick " in text and "1 box moved by at most one pixel into the image" in text


@pytest.mark.usefixtures("unrendered")
def test_pictures_that_are_gone_and_a_folder_that_cannot_be_written(run: Path, params: Params, tmp_path: Path) -> None:
    """The report reads a finished run: it writes nothing there, and lacks no more than the thumbnails."""
    for picture in (run.parent / "images").iterdir():
        picture.unlink()
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    sections.build(run, params, tmp_path / "elsewhere" / "report.html", tmp_path / "elsewhere" / "figures")
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before
    assert (
        Page((tmp_path / "elsewhere" / "report.html").read_text(encoding="utf-8")).text.count("file not readable") >= 2
    )
