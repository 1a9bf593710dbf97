"""Average precision on boxes whose precision and recall can be written down by hand."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.core.errors import MgralError
from mgral.core.types import SPLITS, Boxes, Dataset, Detections, Image
from mgral.data.pool import Pool
from mgral.detection.average_precision import evaluate, voc_ap
from mgral.detection.coco_engines import ENGINES, Engine, coco_run, installed
from mgral.detection.metrics import write as write_metrics

A, B, C, D = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]
NOWHERE = [80, 80, 90, 90]


def truth(*objects: tuple[Sequence[float], int] | tuple[Sequence[float], int, bool]) -> Boxes:
    """Ground truth from (box, label) or (box, label, ignore)."""
    xyxy = np.array([o[0] for o in objects], np.float32).reshape(-1, 4)
    labels = np.array([o[1] for o in objects], np.int64)
    return Boxes(xyxy, labels, np.array([len(o) > 2 and o[2] for o in objects], np.bool_))


def found(*rows: tuple[Sequence[float], float] | tuple[Sequence[float], float, int]) -> Detections:
    """Detections from (box, score) of class 0, or (box, score, label), best score first."""
    labels = np.array([row[2] if len(row) > 2 else 0 for row in rows], np.int64)
    scores = np.array([row[1] for row in rows], np.float32)
    xyxy = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    return Detections(xyxy, scores, labels, np.zeros((len(rows), 3), np.float32))


def dataset(*objects: Boxes, classes: tuple[str, ...] = ("cat",)) -> Dataset:
    """Images 1, 2, … of 100 × 100 pixels."""
    images = {i: Image(i, f"{i}.jpg", 100, 100, "test") for i in range(1, len(objects) + 1)}
    return Dataset(classes, images, dict(enumerate(objects, start=1)), Path("images"))


# Four objects A, B, C, D. Best score first:
#   score  falls on   right   found   precision   recall   envelope (highest precision from here on)
#   0.9    A          yes     1       1/1         0.25     1
#   0.8    nothing    no      1       1/2         0.25     3/4
#   0.7    B          yes     2       2/3         0.50     3/4
#   0.6    C          yes     3       3/4         0.75     3/4
#   D is never found: recall above 0.75 has precision 0.
FOUR = dataset(truth((A, 0), (B, 0), (C, 0), (D, 0)))
RANKED = {1: found((A, 0.9), (NOWHERE, 0.8), (B, 0.7), (C, 0.6))}


def test_voc_area_of_four_boxes() -> None:
    # each object found adds 0.25 of recall: 0.25 · 1 + 0.25 · 3/4 + 0.25 · 3/4 = 0.625
    assert voc_ap(FOUR, RANKED, [1]) == {"mAP": pytest.approx(0.625), "per_class": {"cat": pytest.approx(0.625)}}


def test_voc_eleven_points_of_four_boxes() -> None:
    # recalls 0, 0.1, 0.2: precision 1; 0.3 … 0.7: 3/4; 0.8, 0.9, 1: 0 → (3 + 5 · 3/4) / 11 = 6.75 / 11
    assert voc_ap(FOUR, RANKED, [1], metric="11point")["mAP"] == pytest.approx(6.75 / 11)


def test_coco_of_four_boxes() -> None:
    # all overlaps are 1, so the ten thresholds agree. Recalls 0 … 0.25 (26 points): 1; 0.26 … 0.75 (50): 3/4;
    # above (25): 0 → (26 + 50 · 3/4) / 101 = 63.5 / 101 = 0.6287, near the area of 0.625
    metrics = evaluate(FOUR, RANKED, [1])
    assert metrics["mAP"] == pytest.approx(63.5 / 101)
    assert metrics["AP50"] == pytest.approx(63.5 / 101)
    assert metrics["AP50"] == pytest.approx(voc_ap(FOUR, RANKED, [1])["mAP"], abs=0.01)


def test_eleven_points_reach_a_recall_exactly() -> None:
    # 3 of 10 objects found by three right detections. The recall 0.3 counts as reached, though 3 · 0.1 > 0.3 in
    # floating point: 0, 0.1, 0.2, 0.3 have precision 1 → 4 / 11
    row = [[10 * i, 0, 10 * i + 9, 9] for i in range(10)]
    data = dataset(truth(*((box, 0) for box in row)))
    seen = {1: found(*((box, 0.9) for box in row[:3]))}
    assert voc_ap(data, seen, [1], metric="11point")["mAP"] == pytest.approx(4 / 11)


def test_scores_are_ranked_over_all_images() -> None:
    # image 2's mistake has the best score of all: wrong, right, right → precision 0, 1/2, 2/3, envelope 2/3 at both
    # objects → area 2/3. Ranked per image it would be another.
    data = dataset(truth((A, 0)), truth((A, 0)))
    seen = {1: found((A, 0.8)), 2: found((NOWHERE, 0.9), (A, 0.7))}
    assert voc_ap(data, seen, [1, 2])["mAP"] == pytest.approx(2 / 3)
    assert evaluate(data, seen, [1, 2])["mAP"] == pytest.approx(2 / 3)


def test_what_is_written_of_a_detector(tmp_path: Path) -> None:
    """metrics.json and own.json alike: from the splits alone, with what the labels of the pool cost."""
    images = {i: Image(i, f"{i}.jpg", 100, 100, split) for i, split in enumerate(SPLITS, start=1)}
    objects = [truth((A, 0), (B, 1), (C, 1)), truth((A, 0)), truth((A, 0), (B, 0))]
    dataset = Dataset(("cat", "dog"), images, dict(enumerate(objects, start=1)), tmp_path)
    asked: list[list[int]] = []

    def detect(ids: Sequence[int]) -> dict[int, Detections]:
        asked.append(list(ids))
        return {i: found((A, 0.9)) for i in ids}

    write_metrics(tmp_path / "own.json", dataset, Pool(3, {1: 0}, ()), detect, 100)
    assert asked == [[2], [3]]
    written = json.loads((tmp_path / "own.json").read_text())
    assert {key: written[key] for key in ("cycle", "images", "boxes", "classes")} == {
        "cycle": 3, "images": 1, "boxes": 3, "classes": {"cat": 1, "dog": 2}
    }  # fmt: skip
    assert written["val"].pop("per_class") == {"cat": pytest.approx(1), "dog": None}
    assert written["val"].pop("confident") == {"detections": 1, "right": 1}
    assert written["val"] == pytest.approx(dict.fromkeys(("mAP", "AP50", "AP50_11point", "AP50_area"), 1.0))
    # of two cats one: precision 1 at the recalls 0, 0.01 … 0.5, which are 51 of 101
    assert written["test"]["mAP"] == pytest.approx(51 / 101)
    assert written["test"]["AP50_11point"] == pytest.approx(6 / 11)
    assert written["test"]["AP50_area"] == pytest.approx(1 / 2)


def test_a_second_detection_of_an_object_is_wrong() -> None:
    # A, A again, B: right, wrong, right → envelope 1 and 2/3 → (1 + 2/3) / 2 = 5/6
    data = dataset(truth((A, 0), (B, 0)))
    seen = {1: found((A, 0.9), (A, 0.8), (B, 0.7))}
    assert voc_ap(data, seen, [1])["mAP"] == pytest.approx(5 / 6)
    # COCO: recalls 0 … 0.5 (51 points): 1; above (50): 2/3
    assert evaluate(data, seen, [1])["mAP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_only_coco_gives_a_duplicate_the_next_best_object() -> None:
    # Objects 0..10 and 4..14 on one line, 10 high. Both detections lie on 1..11 (IoU 9/11 with the first, 7/13 = 0.54
    # with the second). VOC: both want the first, the duplicate is wrong → recall 1/2, area 1/2. COCO at 0.50: the
    # duplicate takes the second object, all found, AP50 = 1. At 0.55 … 0.80 one object is found: 51/101; above 0.
    data = dataset(truth(([0, 0, 10, 10], 0), ([4, 0, 14, 10], 0)))
    seen = {1: found(([1, 0, 11, 10], 0.9), ([1, 0, 11, 10], 0.8))}
    assert voc_ap(data, seen, [1])["mAP"] == pytest.approx(0.5)
    metrics = evaluate(data, seen, [1])
    assert metrics["AP50"] == pytest.approx(1.0)
    assert metrics["mAP"] == pytest.approx((1 + 6 * 51 / 101) / 10)


def test_difficult_objects_are_not_counted() -> None:
    # B is difficult: it is not to be found, and both detections on it are left out. A right, nowhere wrong → 1.
    data = dataset(truth((A, 0), (B, 0, True)))
    seen = {1: found((B, 0.95), (B, 0.94), (A, 0.9), (NOWHERE, 0.8))}
    assert voc_ap(data, seen, [1])["mAP"] == pytest.approx(1.0)
    assert evaluate(data, seen, [1])["mAP"] == pytest.approx(1.0)
    # were it not difficult: right, wrong, right, wrong → (1 + 2/3) / 2
    plain = dataset(truth((A, 0), (B, 0)))
    assert voc_ap(plain, seen, [1])["mAP"] == pytest.approx(5 / 6)


def test_an_ignored_region_swallows_detections_in_coco() -> None:
    # Two small boxes inside a crowd region of 40 × 40: their IoU with it is 100 / 1600, but all of each lies inside.
    region = [50, 50, 90, 90]
    seen = {1: found(([50, 50, 60, 60], 0.95), ([70, 70, 80, 80], 0.94), (A, 0.9))}
    assert evaluate(dataset(truth((A, 0), (region, 0, True))), seen, [1])["mAP"] == pytest.approx(1.0)
    # without the region they are two mistakes before the right one: precision 1/3 throughout
    assert evaluate(dataset(truth((A, 0))), seen, [1])["mAP"] == pytest.approx(1 / 3)


def test_coco_thresholds_an_overlap_reaches() -> None:
    # The detection covers 6 of the object's 10 columns: IoU 60 / 100 = 0.6. It is right at 0.50, 0.55 and 0.60 (an
    # overlap equal to the threshold counts) and wrong at the other seven → mAP 3 / 10, AP50 1
    metrics = evaluate(dataset(truth((A, 0))), {1: found(([0, 0, 6, 10], 0.9))}, [1])
    assert metrics["mAP"] == pytest.approx(0.3)
    assert metrics["AP50"] == pytest.approx(1.0)


def test_voc_counts_an_overlap_equal_to_the_threshold() -> None:
    seen = {1: found(([0, 0, 5, 10], 0.9))}  # IoU 50 / 100; with the kit's + 1 it would be 66 / 121 = 0.545
    data = dataset(truth((A, 0)))
    assert voc_ap(data, seen, [1], iou=0.5)["mAP"] == 1.0
    assert voc_ap(data, seen, [1], iou=0.51)["mAP"] == 0.0


def test_a_class_without_ground_truth_is_no_part_of_the_mean() -> None:
    # cat: found (1). dog: there, not found (0). eel: not there, detected nonetheless (None). Mean of the first two.
    data = dataset(truth((A, 0), (B, 1)), classes=("cat", "dog", "eel"))
    seen = {1: found((A, 0.9, 0), (NOWHERE, 0.8, 2))}
    expected = {"cat": pytest.approx(1.0), "dog": 0.0, "eel": None}
    metrics = evaluate(data, seen, [1])
    assert metrics == {"mAP": pytest.approx(0.5), "AP50": pytest.approx(0.5), "per_class": expected}
    assert voc_ap(data, seen, [1]) == {"mAP": pytest.approx(0.5), "per_class": expected}


def test_a_class_with_ignored_objects_only_has_no_ground_truth() -> None:
    data = dataset(truth((A, 0), (B, 1, True)), classes=("cat", "dog"))
    assert evaluate(data, {1: found((A, 0.9))}, [1])["per_class"]["dog"] is None
    assert voc_ap(data, {1: found((A, 0.9))}, [1])["per_class"]["dog"] is None


def test_the_right_box_of_the_wrong_class_is_wrong() -> None:
    data = dataset(truth((A, 0), (B, 1)), classes=("cat", "dog"))
    seen = {1: found((A, 0.9, 1), (B, 0.8, 0))}
    assert evaluate(data, seen, [1])["mAP"] == 0.0
    assert voc_ap(data, seen, [1])["mAP"] == 0.0


@pytest.mark.parametrize("metric", ["area", "11point"])
def test_no_detections_at_all(metric: str) -> None:
    data = dataset(truth((A, 0)), truth())
    nothing = {1: found(), 2: found()}
    assert evaluate(data, nothing, [1, 2]) == {"mAP": 0.0, "AP50": 0.0, "per_class": {"cat": 0.0}}
    assert voc_ap(data, nothing, [1, 2], metric=metric) == {"mAP": 0.0, "per_class": {"cat": 0.0}}  # type: ignore[arg-type]


def test_an_image_without_objects_adds_false_positives() -> None:
    data = dataset(truth((A, 0)), truth())
    seen = {1: found((A, 0.8)), 2: found((A, 0.9))}  # wrong, then right: precision 1/2
    assert evaluate(data, seen, [1])["mAP"] == pytest.approx(1.0)
    assert evaluate(data, seen, [1, 2])["mAP"] == pytest.approx(0.5)
    assert voc_ap(data, seen, [2, 1])["mAP"] == pytest.approx(0.5)


def test_coco_looks_at_the_best_detections_only() -> None:
    data = dataset(truth((A, 0)))
    seen = {1: found((NOWHERE, 0.9), (A, 0.8))}
    assert evaluate(data, seen, [1], max_detections=1)["mAP"] == 0.0
    assert evaluate(data, seen, [1], max_detections=2)["mAP"] == pytest.approx(0.5)


ALL_ENGINES = pytest.mark.parametrize("engine", ENGINES)


@ALL_ENGINES
def test_engines_are_silent(
    engine: Engine, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip(engine)
    with caplog.at_level(logging.INFO):
        evaluate(FOUR, RANKED, [1], engine=engine)
    assert capfd.readouterr().out == ""
    assert not caplog.records


def crowded(seed: int, images: int, classes: int) -> tuple[Dataset, dict[int, Detections]]:
    """Boxes of 4 to 160 pixels, small, medium and large to COCO, some of them ignored; detections around them and
    elsewhere, their scores among 50 values so that many are equal. An image may have no object or no detection.
    """
    rng = np.random.default_rng(seed)

    def scattered(count: int) -> np.ndarray:
        corner, side = rng.uniform(0, 300, (count, 2)), np.exp(rng.uniform(np.log(4), np.log(160), (count, 2)))
        return np.hstack([corner, corner + side])

    data, seen = [], {}
    for i in range(1, images + 1):
        count = int(rng.integers(0, 6))
        objects, labels = scattered(count), rng.integers(0, classes, count)
        data.append(Boxes(objects.astype(np.float32), labels, rng.random(count) < 0.2))
        near = rng.integers(0, max(count, 1), 4 * count)
        rows = np.vstack([objects[near] + rng.normal(0, 3, (len(near), 4)), scattered(int(rng.integers(0, 9)))])
        rows = rows[(rows[:, 2:] > rows[:, :2]).all(1)]
        scores = np.sort(rng.integers(1, 50, len(rows)) / 50)[::-1].astype(np.float32)
        rows = rng.permutation(rows).astype(np.float32)
        seen[i] = Detections(rows, scores, rng.integers(0, classes, len(rows)), np.zeros((len(rows), 2), np.float32))
    return dataset(*data, classes=tuple(f"class {k}" for k in range(classes))), seen


@pytest.mark.parametrize(("images", "classes"), [(40, 1), (40, 5), (3, 8)])
@pytest.mark.parametrize("seed", range(5))
def test_engines_give_the_same(seed: int, images: int, classes: int) -> None:
    """COCO's twelve numbers, and ours; with few images some classes have no object, or ignored ones only."""
    assert "pycocotools" in installed()
    if len(installed()) == 1:
        pytest.skip("pycocotools is the only engine that is installed")
    data, seen = crowded(seed, images, classes)
    stats: list[list[float]] = []
    ours: list[dict[str, Any]] = []
    for engine in installed():
        run = coco_run(data, seen, seen, engine)
        run.evaluate()
        run.accumulate()
        run.summarize()
        stats.append(list(run.stats))
        metrics = evaluate(data, seen, seen, 7, engine)
        ours.append({"mAP": metrics["mAP"], "AP50": metrics["AP50"], **metrics["per_class"]})
    assert len(stats[-1]) == 12
    assert 0 < stats[-1][0] < stats[-1][1] < 1  # nothing is trivially equal
    for those, own in zip(stats, ours, strict=True):
        assert those == pytest.approx(stats[-1], abs=1e-6)
        assert own == pytest.approx(ours[-1], abs=1e-6)


@ALL_ENGINES
def test_engines_agree_where_nothing_is_found(engine: Engine) -> None:
    pytest.importorskip(engine)
    nothing = {1: found(), 2: found()}
    assert evaluate(dataset(truth((A, 0)), truth()), nothing, [1, 2], engine=engine)["mAP"] == 0.0


@pytest.mark.parametrize("function", [evaluate, voc_ap])
def test_what_cannot_be_evaluated_is_named(function: object) -> None:
    assert callable(function)
    with pytest.raises(MgralError, match=r"^image 9 is not in the data set; "):
        function(FOUR, RANKED, [1, 9])
    with pytest.raises(MgralError, match=r"^image 1 has no detections entry; "):
        function(FOUR, {}, [1])
    unlabelled = Dataset(FOUR.classes, FOUR.images, {}, FOUR.root)
    with pytest.raises(MgralError, match=r"^image 1 is not annotated; "):
        function(unlabelled, RANKED, [1])
    with pytest.raises(MgralError, match=r"^no ground truth in the 1 images"):
        function(dataset(truth((A, 0, True))), RANKED, [1])
    with pytest.raises(MgralError, match=r"^image 1: detection 1 is not finite"):
        function(FOUR, {1: found((A, 0.9), (B, float("nan")))}, [1])


@given(st.integers(0, 2**32 - 1))
def test_voc_matching_agrees_with_a_plain_loop(seed: int) -> None:
    """Overlapping boxes, two classes, difficult objects, against the development kit's loop written out."""
    rng = np.random.default_rng(seed)
    data, seen = [], {}
    for i in (1, 2, 3):
        corner = rng.integers(0, 12, (5, 2))
        objects = [([x, y, x + 8, y + 8], int(rng.integers(2)), bool(rng.random() < 0.3)) for x, y in corner]
        data.append(truth((A, 0), (A, 1), *objects))
        corner = rng.integers(0, 12, (8, 2))
        scores = np.sort(rng.permutation(800)[:8] + 800 * rng.random())[::-1] / 2000
        rows = [([x, y, x + 8, y + 8], s, int(rng.integers(2))) for (x, y), s in zip(corner, scores, strict=True)]
        seen[i] = found(*rows)
    whole = dataset(*data, classes=("cat", "dog"))
    result = voc_ap(whole, seen, [1, 2, 3])["per_class"]
    assert result == {name: pytest.approx(kit(whole, seen, k)) for k, name in enumerate(whole.classes)}


def kit(data: Dataset, seen: dict[int, Detections], label: int) -> float:
    """VOCevaldet.m and VOCap.m line by line, without + 1."""
    objects = {i: [b for b, k in zip(t.xyxy, t.labels, strict=True) if k == label] for i, t in data.boxes.items()}
    skip = {i: [g for g, k in zip(t.ignore, t.labels, strict=True) if k == label] for i, t in data.boxes.items()}
    taken = {i: [False] * len(objects[i]) for i in objects}
    rows = [
        (float(s), i, b)
        for i, d in seen.items()
        for b, s, k in zip(d.xyxy, d.scores, d.labels, strict=True)
        if k == label
    ]
    recalls, precisions, right, wrong = [0.0], [0.0], 0, 0
    for _, i, (x1, y1, x2, y2) in sorted(rows, key=lambda row: (-row[0], row[1])):
        best, at = -1.0, -1
        for j, (gx1, gy1, gx2, gy2) in enumerate(objects[i]):
            width, height = min(x2, gx2) - max(x1, gx1), min(y2, gy2) - max(y1, gy1)
            if width > 0 and height > 0:
                shared = float(width * height)
                overlap = shared / (float((x2 - x1) * (y2 - y1) + (gx2 - gx1) * (gy2 - gy1)) - shared)
                if overlap > best:
                    best, at = overlap, j
        if best >= 0.5:
            if skip[i][at]:
                continue
            right, wrong = right + (not taken[i][at]), wrong + taken[i][at]
            taken[i][at] = True
        else:
            wrong += 1
        recalls.append(right / sum(not s for image in skip.values() for s in image))
        precisions.append(right / (right + wrong))
    recalls, precisions = [*recalls, 1.0], [*precisions, 0.0]
    for j in range(len(precisions) - 2, -1, -1):
        precisions[j] = max(precisions[j], precisions[j + 1])
    return sum((recalls[j] - recalls[j - 1]) * precisions[j] for j in range(1, len(recalls)))
