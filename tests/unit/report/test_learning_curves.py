"""Learning curves: collected whole, areas and paired differences worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.core.files import write_json
from mgral.report import learning_curves

# strategy → seed → (images, boxes, mAP) by cycle
RUN = {
    "random": {0: [(10, 30, 0.2), (20, 50, 0.3)], 1: [(10, 20, 0.1), (20, 40, 0.2)]},
    "entropy": {0: [(10, 30, 0.2), (20, 70, 0.4)], 1: [(10, 20, 0.1), (20, 60, 0.4)]},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for strategy, seeds in RUN.items():
        for seed, cycles in seeds.items():
            for cycle, (images, boxes, value) in enumerate(cycles):
                test = {"mAP": value, "AP50": 2 * value, "per_class": {}}
                path = Path(run_layout.cycle_folder(tmp_path, strategy, seed, cycle), "metrics.json")
                write_json(path, {"cycle": cycle, "images": images, "boxes": boxes, "test": test})
    return tmp_path


def collected(run: Path) -> pd.DataFrame:
    return learning_curves.collect(run, ["random", "entropy"], [0, 1], 2)


def test_collect_keeps_the_order_of_the_experiment(run: Path) -> None:
    frame = learning_curves.collect(run, ["random", "entropy"], [1, 0], 2)
    assert list(frame.columns) == ["strategy", "seed", "cycle", "images", "boxes", "mAP", "AP50"]
    assert frame.to_numpy().tolist()[:3] == [
        ["random", 1, 0, 10, 20, 0.1, 0.2],
        ["random", 1, 1, 20, 40, 0.2, 0.4],
        ["random", 0, 0, 10, 30, 0.2, 0.4],
    ]
    assert len(frame) == 8


def test_the_own_detector_of_a_strategy_is_a_curve_of_its_own(run: Path) -> None:
    for cycle, value in enumerate((0.5, 0.75)):
        folder = Path(run_layout.cycle_folder(run, "entropy", 0, cycle))
        write_json(folder / "own.json", {"images": 10, "boxes": 30, "test": {"mAP": value, "AP50": 1.0}})
    frame = learning_curves.collect(run, ["entropy", "entropy:own"], [0], 2)
    assert frame["strategy"].tolist() == ["entropy", "entropy", "entropy:own", "entropy:own"]
    assert frame["mAP"].tolist() == [0.2, 0.4, 0.5, 0.75]
    means = learning_curves.means(frame)
    assert (means["entropy"]["mAP"], means["entropy:own"]["mAP"]) == (0.4, 0.75)

    path = Path(run_layout.cycle_folder(run, "entropy", 0, 1), "own.json")
    write_json(path, {})
    with pytest.raises(MgralError, match=rf"{path}: lacks images.*run `mgral score` again"):
        learning_curves.collect(run, ["entropy:own"], [0], 2)
    path.unlink()
    with pytest.raises(MgralError, match=rf"{path}: no such file: its job has not ended; run `snakemake` again"):
        learning_curves.collect(run, ["entropy:own"], [0], 2)


def test_a_missing_metrics_file_is_named(run: Path) -> None:
    path = run / "entropy" / "seed-1" / "cycle-1" / "metrics.json"
    path.unlink()
    with pytest.raises(MgralError, match=rf"{path}: no such file: its job has not ended; run `snakemake` again"):
        collected(run)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"images": 1, "boxes": 1}, "lacks images, boxes or the test split's mAP"),
        ([], "lacks images"),
        ({"images": 1, "boxes": 1, "test": {"mAP": None, "AP50": 0.1}}, "needs images with boxes"),
        ({"images": 1, "boxes": 1, "test": {"mAP": 41.2, "AP50": 0.1}}, r"must lie in 0\.\.1"),
        ({"images": -1, "boxes": 1, "test": {"mAP": 0.1, "AP50": 0.1}}, "must be counts"),
    ],
)
def test_a_damaged_metrics_file_is_named(run: Path, content: object, complaint: str) -> None:
    path = run / "random" / "seed-0" / "cycle-0" / "metrics.json"
    write_json(path, content)
    with pytest.raises(MgralError, match=complaint) as error:
        collected(run)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_the_csv_is_stable_and_read_back(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    learning_curves.write(collected(run), path)
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == b"strategy,seed,cycle,images,boxes,mAP,AP50"
    assert lines[1] == b"random,0,0,10,30,0.200000,0.400000"
    assert len(lines) == 10 and lines[-1] == b""
    pd.testing.assert_frame_equal(learning_curves.read(path), collected(run), check_dtype=False)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "strategy,seed,cycle,images,boxes,mAP,AP50\nr,x,0,1,1,0.1,0.1\n"])
def test_another_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(MgralError, match="mgral curve"):
        learning_curves.read(path)


def test_a_missing_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(MgralError, match=r"curve\.csv: no such file"):
        learning_curves.read(tmp_path / "curve.csv")


def test_area_by_trapezoids() -> None:
    # [10, 20]: 10 × (0.2 + 0.4)/2 = 3;  [20, 40]: 20 × (0.4 + 0.5)/2 = 9;  (3 + 9)/30 = 0.4
    assert learning_curves.area([10, 20, 40], [0.2, 0.4, 0.5], 40) == pytest.approx(0.4)


def test_area_up_to_a_point_between() -> None:
    # at 30 the curve stands at 0.45; 3 + 10 × (0.4 + 0.45)/2 = 7.25; 7.25/20 = 0.3625
    assert learning_curves.area([10, 20, 40], [0.2, 0.4, 0.5], 30) == pytest.approx(0.3625)


def test_area_over_a_batch_without_boxes() -> None:
    # the step at 20 has no width: 10 × 0.3 + 10 × (0.5 + 0.6)/2 = 8.5; 8.5/20 = 0.425
    assert learning_curves.area([10, 20, 20, 30], [0.2, 0.4, 0.5, 0.6], 30) == pytest.approx(0.425)


def test_area_of_a_single_point_is_undefined() -> None:
    assert math.isnan(learning_curves.area([10], [0.2], 10))


def test_areas_cover_the_range_shared_with_the_reference(run: Path) -> None:
    table = learning_curves.scores(collected(run), "random").set_index(["strategy", "seed"])
    assert table.loc[("entropy", 0), "mAP"] == 0.4
    assert table.loc[("entropy", 0), "AP50"] == 0.8
    assert table.loc[("random", 0), "auc_images"] == pytest.approx(0.25)
    assert table.loc[("entropy", 0), "auc_images"] == pytest.approx(0.3)
    # seed 0 has its area over 30 … 50 boxes: entropy stands at 0.3 there, (0.2 + 0.3)/2 = 0.25 as random does
    assert table.loc[("entropy", 0), "auc_boxes"] == pytest.approx(0.25)
    assert table.loc[("random", 0), "auc_boxes"] == pytest.approx(0.25)


def test_differences_pair_the_seeds(run: Path) -> None:
    gains = learning_curves.differences(collected(run), "random")
    assert gains["strategy"].tolist() == ["entropy", "entropy"]
    # seed 0: 0.4 − 0.3, seed 1: 0.4 − 0.2
    assert gains["mAP"].tolist() == pytest.approx([0.1, 0.2])
    # mean 0.15; deviations ∓0.05, √((0.05² + 0.05²)/1) = 0.070711
    assert learning_curves.summary(gains)["entropy"]["mAP"] == pytest.approx((0.15, 0.0707107, 2), abs=1e-6)


def test_an_area_by_boxes_does_not_depend_on_a_third_strategy(run: Path) -> None:
    frame = collected(run)
    third = frame[frame["strategy"] == "random"].assign(strategy="sparse")
    third["boxes"] = 30 + (third["boxes"] - 30) // 10  # a curve that hardly moves in boxes
    beside = pd.concat([frame, third], ignore_index=True)

    def of(table: pd.DataFrame) -> list[float]:
        return table.loc[table["strategy"] == "entropy", "auc_boxes"].to_list()

    assert of(learning_curves.scores(beside, "random")) == of(learning_curves.scores(frame, "random"))
    assert of(learning_curves.differences(beside, "random")) == of(learning_curves.differences(frame, "random"))


def test_weights_of_an_area() -> None:
    # three points at equal steps: half, whole and half a step of two steps
    assert learning_curves.area_weights([10, 20, 30], 30) == pytest.approx([0.25, 0.5, 0.25])
    # up to 25: 10 × ½ at 10; 10 × ½ + 5 × ¾ at 20; 5 × ¼ at 30; of a length of 15
    assert learning_curves.area_weights([10, 20, 30], 25) == pytest.approx([5 / 15, 8.75 / 15, 1.25 / 15])


def test_retraining_spreads_an_area_less() -> None:
    # without the shared first point: √(0.5² + 0.25²)
    rows = [("random", 0, cycle, 10 * cycle + 10, 5, 0.2, 0.2) for cycle in range(3)]
    frame = pd.DataFrame(rows, columns=learning_curves.COLUMNS)
    assert learning_curves.area_noise(frame, "images") == pytest.approx(math.sqrt(0.3125))


def test_spread_of_one_and_of_none() -> None:
    mean, deviation, count = learning_curves.spread([0.3, math.nan])
    assert (mean, count) == (0.3, 1) and math.isnan(deviation)
    mean, _, count = learning_curves.spread([])
    assert math.isnan(mean) and count == 0


def trainings(folder: Path, values: list[tuple[int, float]]) -> list[Path]:
    paths = []
    for k, (images, value) in enumerate(values):
        paths.append(folder / f"repeat-{k}" / "metrics.json")
        test = {"mAP": value, "AP50": 2 * value, "per_class": {}}
        write_json(paths[-1], {"cycle": 0, "images": images, "boxes": 9, "test": test})
    return paths


def test_noise_is_the_spread_between_trainings_of_one_pool(tmp_path: Path) -> None:
    found = learning_curves.noise(trainings(tmp_path, [(30, 0.1), (30, 0.2), (30, 0.3)]))
    assert found["images"] == 30 and found["repeats"] == 3
    # mean 0.2; squared deviations 0.01 + 0 + 0.01 over n - 1 = 2: variance 0.01
    assert found["mAP"]["mean"] == pytest.approx(0.2) and found["mAP"]["deviation"] == pytest.approx(0.1)
    assert found["AP50"]["values"] == pytest.approx([0.2, 0.4, 0.6])


def test_noise_needs_two_trainings_of_one_pool(tmp_path: Path) -> None:
    with pytest.raises(MgralError, match="at least two trainings"):
        learning_curves.noise(trainings(tmp_path, [(30, 0.1)]))
    with pytest.raises(MgralError, match="pools of 30 and 40 images"):
        learning_curves.noise(trainings(tmp_path, [(40, 0.1), (30, 0.2)]))


@pytest.mark.parametrize(
    "change", [{"AP50": {}}, {"AP50": 3}, {"AP50": {"deviation": {}}}, {"mAP": {"deviation": 1e308}}, {"images": True}]
)
def test_a_spoilt_noise_is_refused_where_it_is_read(change: dict[str, Any], tmp_path: Path) -> None:
    found = learning_curves.noise(trainings(tmp_path, [(30, 0.1), (30, 0.2)]))
    write_json(tmp_path / "noise.json", found)
    assert learning_curves.read_noise(tmp_path / "noise.json") == found
    write_json(tmp_path / "noise.json", found | change)
    with pytest.raises(MgralError, match=r"noise\.json: lacks images, .*; run `mgral noise` again"):
        learning_curves.read_noise(tmp_path / "noise.json")


def test_means_over_seeds(run: Path) -> None:
    means = learning_curves.means(collected(run))
    # last mAP: random (0.3 + 0.2)/2, entropy 0.4 in both; AP50 is twice that
    assert means["random"]["mAP"] == pytest.approx(0.25)
    assert means["entropy"]["AP50"] == pytest.approx(0.8)
    # heights over images: random (0.2 + 0.3)/2 and (0.1 + 0.2)/2, their mean 0.2
    assert means["random"]["auc_images"] == pytest.approx(0.2)


def test_the_mean_area_of_one_cycle_is_undefined(run: Path) -> None:
    assert learning_curves.means(learning_curves.collect(run, ["random"], [0], 1)) == {
        "random": {"mAP": 0.2, "AP50": 0.4, "auc_images": None, "auc_boxes": None}
    }
