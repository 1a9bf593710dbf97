"""Matching, boxes and reconciling, on numbers that can be worked out by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import batches
import numpy as np
import pytest

from mgral.annotation import box_rules, exchange, matching, reconciling, simulated
from mgral.annotation.box_rules import LabelBox
from mgral.annotation.exchange import Answer, AnswerBox, BatchImage
from mgral.core.errors import MgralError
from mgral.core.types import Boxes

IMAGE = BatchImage(1, "a.png", 100, 50, "0" * 64, 1)


def fit(*boxes: AnswerBox, names: dict[str, str] | None = None, **more: object) -> tuple[list[LabelBox], Counter[str]]:
    counts: Counter[str] = Counter()
    answer = Answer("a.png", "finished", boxes, **more)  # type: ignore[arg-type]
    return list(box_rules.fit(answer, IMAGE, ("ant", "bee"), names or {}, counts)), +counts


def test_boxes_are_snapped_clipped_and_counted() -> None:
    found, counts = fit(
        AnswerBox("ant", (1.0000000003, 2, 3, 3.9999999)),
        AnswerBox("bee", (-5, 10, 20, 60)),
        AnswerBox("ant", (30, 10, 30, 20)),
        AnswerBox("ant", (110, 10, 120, 20)),
        AnswerBox("ant", (5, 5, 9.25, 9), hull=True),
    )
    assert [box.xyxy for box in found] == [(1, 2, 3, 4), (0, 10, 20, 50), (5, 5, 9.25, 9)]
    assert [box.label for box in found] == [0, 1, 0]
    assert counts == {
        "boxes clipped to their image": 1,
        "boxes without area, dropped": 2,
        "rotated boxes, polygons and ellipses, as their hull": 1,
    }


def test_classes_are_mapped_by_name() -> None:
    found, _ = fit(
        AnswerBox("wasp", (1, 1, 2, 2)), AnswerBox("dirt", (1, 1, 2, 2)), names={"wasp": "bee", "dirt": "ignore"}
    )
    assert [(box.label, box.ignore) for box in found] == [(1, False), (-1, True)]
    with pytest.raises(MgralError, match=r"unknown class 'bees'; set annotation.map .* did you mean 'bee'"):
        fit(AnswerBox("bees", (1, 1, 2, 2)))
    with pytest.raises(MgralError, match="box 1 is not four numbers"):
        fit(AnswerBox("bee", (1, float("nan"), 2, 2)))


def test_another_size_is_refused() -> None:
    with pytest.raises(MgralError, match="showed it as 50 x 100, the file has 100 x 50: an EXIF orientation"):
        fit(size=(50, 100))
    with pytest.raises(MgralError, match="annotate the file itself"):
        fit(size=(200, 100))


def find(name: str, *names: str, **more: object) -> int:
    images = [BatchImage(i, n, 9, 9, f"{i:064x}", i) for i, n in enumerate(names, start=1)]
    return matching.Images(images).find(Answer(name, "finished", **more), "b1")  # type: ignore[arg-type]


def test_an_image_is_found_by_id_hash_path_and_name_in_this_order() -> None:
    names = ("a/1.png", "b/1.png", "c d.png")
    assert find("anything", *names, id=2, sha256=f"{2:064x}") == 2
    assert find("b/1.png", *names, sha256=f"{1:064x}") == 1
    assert find("data/local/b/1.png", *names) == 2
    assert find("..\\..\\c%20d.png", *names) == 3
    assert find("0123abcd-c_d.png", *names) == 3
    assert find("0123abcd__c_d", *names) == 3
    assert find("obj_train_data/a/1.txt".removesuffix(".txt"), *names) == 1
    assert find("000002_00000000.png", *names) == 2


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("1.png", {}, "may be 'a/1.png' and 'b/1.png'"),
        ("9.png", {}, "no such image is asked for or registered"),
        ("x", {"id": 9}, "image 9 is not asked for in this batch"),
        ("x", {"id": 1, "sha256": "f" * 64}, "image 1 has other content here"),
        ("000001_ffffffff.jpg", {}, "image 1 has other content here"),
        ("a/1.png", {"batch": "b2"}, "of batch b2, not b1"),
    ],
)
def test_doubt_is_refused(name: str, more: dict[str, object], says: str) -> None:
    with pytest.raises(MgralError, match=says):
        find(name, "a/1.png", "b/1.png", **more)


def test_one_answer_a_person_the_truth_else_the_newest() -> None:
    def said(who: str, at: str, state: exchange.State = "finished", truth: bool = False) -> Answer:
        return Answer("a", state, who=who, at=at, truth=truth)

    old, new, later = said("a", "1"), said("a", "2"), said("a", "3", "draft")
    truth, other = said("b", "1", truth=True), said("b", "9")
    assert reconciling.one_each([new, old, later, truth, other]) == [new, truth]
    assert reconciling.state_of([later, replace(new, state="skipped")]) == "skipped"
    assert reconciling.state_of([]) == "untouched"


def box(x: float, label: int = 0, y: float = 0) -> LabelBox:
    return LabelBox(label, (x, y, x + 10, y + 10))


def test_two_people_agree_on_medians_and_the_rest_is_ignored() -> None:
    people = {"a": [box(0), box(50), box(80, 1)], "b": [box(2), box(50, 1), box(20)]}
    joined, agreement = reconciling.join(people, 0.5, "ignore")
    # 0 and 2 overlap by 80 / 120 = 0.67, so the edges are 1 and 11; 50 is disputed; 80 and 20 are of one person
    assert [(b.xyxy[0], b.label, b.ignore) for b in joined] == [
        (1, 0, False),
        (50, 0, True),
        (80, 1, True),
        (20, 0, True),
    ]
    assert (agreement.alone, agreement.disputed, agreement.confused) == (2, 1, 1)
    assert agreement.f1 == pytest.approx(2 * 1 / 6)
    assert [b.ignore for b in reconciling.join(people, 0.5, "keep")[0]] == [False] * 4
    assert len(reconciling.join(people, 0.5, "drop")[0]) == 1


def test_of_three_people_two_decide() -> None:
    people = {"a": [box(0), box(40)], "b": [box(1)], "c": [box(4, 1), box(40), box(80)]}
    joined, _ = reconciling.join(people, 0.4, "drop")
    assert [(b.xyxy[0], b.label) for b in joined] == [(1, 0), (40, 0)]  # the median of 0, 1 and 4


def test_boxes_of_one_person_are_never_joined() -> None:
    joined, agreement = reconciling.join({"a": [box(0), box(1)], "b": [box(0), box(1)]}, 0.5, "ignore")
    assert sorted(b.xyxy[0] for b in joined) == [0, 1]
    assert agreement.f1 == 1


def test_one_person_is_taken_as_is() -> None:
    assert reconciling.join({"a": [box(0)]}, 0.5, "drop") == ((box(0),), reconciling.Agreement())


def test_a_manifest_comes_back_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    batch = batches.batch(tmp_path, batches.images(tmp_path))
    shown = replace(
        batch, images=(replace(batch.images[0], predictions=batches.predicted([AnswerBox("ant", (1, 2, 3, 4.5))])),)
    )
    exchange.write_batch(shown, tmp_path / "manifest.json")
    assert exchange.read_batch(tmp_path / "manifest.json") == shown
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"id": 1,', '"id": 2,'))
    with pytest.raises(MgralError, match="its images are not those of batch"):
        exchange.read_batch(tmp_path / "manifest.json")


TRUTH = Boxes(np.array([[10, 10, 30, 20], [40, 5, 60, 45]], np.float32), np.array([0, 1]), np.array([False, True]))


def test_simulated_people_without_faults_say_the_truth(tmp_path: Path) -> None:
    batch = batches.batch(tmp_path, [IMAGE])
    said = simulated.answers(batch, {1: TRUTH}, 2, simulated.Noise(), seed=3)[1]
    assert [answer.who for answer in said] == ["1", "2"]
    for answer in said:
        assert [box.xyxy for box in answer.boxes] == [(10, 10, 30, 20), (40, 5, 60, 45)]
        assert [box.label for box in answer.boxes] == [batches.CLASSES[0], batches.CLASSES[1]]
        assert [box.ignore for box in answer.boxes] == [False, True]
    with pytest.raises(MgralError, match="know no boxes of image 1"):
        simulated.answers(batch, {}, 1, simulated.Noise(), 3)


def test_the_rates_of_simulated_faults_are_those_asked_for(tmp_path: Path) -> None:
    truth = Boxes(
        np.tile(np.array([[40, 20, 60, 30]], np.float32), (4000, 1)), np.zeros(4000, np.int64), np.zeros(4000, bool)
    )
    batch = batches.batch(tmp_path, [IMAGE])

    def boxes(**rates: float) -> tuple[AnswerBox, ...]:
        return simulated.answer(IMAGE, truth, batch, 1, simulated.Noise(**rates), 0).boxes

    assert len(boxes(miss=0.3)) == pytest.approx(2800, abs=100)
    wrong = Counter(b.label for b in boxes(wrong=0.3))
    assert wrong[batches.CLASSES[0]] == pytest.approx(2800, abs=100)
    assert all(wrong[name] == pytest.approx(400, abs=80) for name in batches.CLASSES[1:])
    moved = np.array([b.xyxy for b in boxes(jitter=0.05)]) - [40, 20, 60, 30]
    assert moved.std(axis=0) == pytest.approx([1, 0.5, 1, 0.5], rel=0.1)  # 5 % of 20 and of 10 pixels
    assert len(boxes(extra=5)) > 4000
    seconds = [simulated.answer(IMAGE, TRUTH, batch, p, simulated.Noise(seconds=7), 0).seconds for p in range(400)]
    assert np.mean([s for s in seconds if s is not None]) == pytest.approx(14, rel=0.1)
