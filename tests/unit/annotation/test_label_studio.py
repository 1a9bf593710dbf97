"""What a real Label Studio returns (1.23.2, fields as measured): states, shapes, drafts, uploads, several people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import batches
import pytest

from mgral.annotation import box_rules, exchange, matching, reconciling
from mgral.annotation.exchange import Batch, Returned
from mgral.annotation.tools import label_studio
from mgral.core.errors import MgralError


def region(x: float, y: float, w: float, h: float, label: str = "ant", size: tuple[int, int] = (200, 100), **more: Any):
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": more.pop("rotation", 0), "rectanglelabels": [label]}
    sides = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    return (
        {"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value} | sides | more
    )


def annotation(*result: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {"was_cancelled": False, "ground_truth": False, "completed_by": 1, "lead_time": 9.0}
    return {"result": list(result), "updated_at": "2026-01-01T00:00:00Z"} | said | more


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    found = [
        exchange.BatchImage(i, name, 200, 100, f"{i:064x}", i)
        for i, name in enumerate(["x/a b.png", "my photo (1) é.jpg", "c.png"], start=1)
    ]
    return batches.batch(tmp_path, found)


def task(id: int | None, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = {"image": f"/data/local-files/?d=set/{id}.png"}
    if id is not None:
        data["mgral"] = {"id": id, "sha256": f"{id:064x}"}  # type: ignore[assignment]
    return {"id": 7, "data": data, "annotations": list(annotations), "updated_at": "2026-01-01T00:00:00Z"} | more


def read(tmp_path: Path, batch: Batch, *tasks: dict[str, Any]) -> Returned:
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    return label_studio.read(exchange.sources(tmp_path / "export.json"), batch, label_studio.Options())


def test_skipped_cannot_nothing_draft_and_untouched_differ(tmp_path: Path, batch: Batch) -> None:
    cannot = {"type": "choices", "value": {"choices": ["cannot be labelled"]}}
    returned = read(
        tmp_path,
        batch,
        task(1, annotation(region(10, 10, 10, 10), was_cancelled=True)),  # a skipped task holds the prediction's boxes
        task(2, annotation(cannot)),
        task(3, annotation()),
        task(1, drafts=[annotation(region(1, 1, 5, 5))]),
        task(2, predictions=[{"result": [region(1, 1, 5, 5)]}]),
    )
    assert [answer.state for answer in returned.answers] == ["skipped", "cannot", "finished", "draft", "untouched"]
    assert [len(answer.boxes) for answer in returned.answers[2:]] == [0, 0, 0]


@pytest.mark.parametrize("turned", [90, 180, -90, 0.5])
def test_boxes_on_a_turned_image_are_refused(turned: float, tmp_path: Path, batch: Batch) -> None:
    given = region(10, 10, 10, 10, image_rotation=turned)
    with pytest.raises(MgralError, match=f"drawn on the image turned by {turned % 360:g} degrees; turn it back"):
        read(tmp_path, batch, task(1, annotation(given)))
    skipped = read(tmp_path, batch, task(1, annotation(given, was_cancelled=True)))
    assert [answer.state for answer in skipped.answers] == ["skipped"]
    for nothing in (0, 0.0, 360, None):
        read(tmp_path, batch, task(1, annotation(region(10, 10, 10, 10, image_rotation=nothing))))


def test_times_are_compared_as_moments(tmp_path: Path, batch: Batch) -> None:
    """Of one person's answers the newest counts, whatever time zones they are written in."""
    times = ["2026-01-01T12:30:00+02:00", "2026-01-01T11:00:00Z", "2026-01-01 10:59:59.5", "", "yesterday"]
    answers = [annotation(region(k, 0, 10, 10), updated_at=at) for k, at in enumerate(times)]
    for shuffled in (answers, answers[::-1]):
        (best,) = reconciling.one_each(read(tmp_path, batch, task(1, *shuffled)).answers)
        assert best.at == "2026-01-01T11:00:00Z"
    same = [
        annotation(region(k, 0, 10, 10), updated_at=at) for k, at in enumerate([times[1], "2026-01-01T12:00+01:00"])
    ]
    with pytest.raises(MgralError, match="two answers about image 1 that differ, and nothing says which is newer"):
        matching.match(read(tmp_path, batch, task(1, *same)), batch, matching.Images(batch.images))


def test_half_a_character_is_refused(tmp_path: Path, batch: Batch) -> None:
    (tmp_path / "export.json").write_text(json.dumps([task(1, annotation(completed_by={"email": "\ud800"}))]))
    with pytest.raises(MgralError, match=r"export.json: .* holds half a character"):
        label_studio.read(exchange.sources(tmp_path / "export.json"), batch, label_studio.Options())


def test_percent_of_the_sides_and_shapes_become_corners(tmp_path: Path, batch: Batch) -> None:
    # 200 x 100. 10 % and 20 % are pixels 20 and 20; turned by 90° about its corner, 40 x 10 spans x 10..20, y 20..60
    polygon = region(0, 0, 0, 0) | {"type": "polygonlabels"}
    polygon["value"] = {"points": [[10, 10], [30, 20], [20, 60]], "polygonlabels": ["ant"]}
    ellipse = region(0, 0, 0, 0) | {"type": "ellipselabels"}
    ellipse["value"] = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 30, "rotation": 90, "ellipselabels": ["ant"]}
    shapes = [
        region(10, 20, 20, 10),
        region(10, 20, 20, 10, rotation=359.9),
        region(10, 20, 20, 10, rotation=90),
        polygon,
        ellipse,
    ]
    boxes = read(tmp_path, batch, task(1, annotation(*shapes))).answers[0].boxes
    expected = [(20, 20, 60, 30), (20, 20, 60, 30), (10, 20, 20, 60), (20, 10, 60, 60), (70, 30, 130, 70)]
    for box, corners in zip(boxes, expected, strict=True):
        assert box.xyxy == pytest.approx(corners)
    assert [box.hull for box in boxes] == [False, False, True, True, True]


def test_every_whole_pixel_survives_the_percentages() -> None:
    for width in range(1, 400, 7):
        image = exchange.BatchImage(1, "a.png", width, width + 3, "0" * 64, 1)
        for x in range(width):
            given = label_studio._result("r", "ant", (x, x, x + 1, x + 2), image)
            xyxy, _ = label_studio._corners("rectanglelabels", given["value"], width, width + 3)
            assert max(abs(a - b) for a, b in zip(xyxy, (x, x, x + 1, x + 2), strict=True)) < box_rules.SNAP / 1000


def test_an_uploaded_image_is_found_by_its_mangled_name(tmp_path: Path, batch: Batch) -> None:
    one = task(None, annotation(region(1, 1, 5, 5)))
    one["data"] = {"image": "/data/upload/3/1270878e-my_photo_1_%C3%A9.jpg"}
    found = matching.match(read(tmp_path, batch, one), batch, matching.Images(batch.images))
    assert list(found) == [2]


def test_an_image_turned_by_exif_is_refused_with_the_remedy(tmp_path: Path, batch: Batch) -> None:
    answer = read(tmp_path, batch, task(1, annotation(region(1, 1, 5, 5, size=(100, 200))))).answers[0]
    with pytest.raises(MgralError, match="an EXIF orientation turns it; turn the pixels"):
        reconciling_fit(answer, batch)


def reconciling_fit(answer: exchange.Answer, batch: Batch) -> tuple[box_rules.LabelBox, ...]:
    return box_rules.fit(answer, batch.images[0], batch.classes, {}, reconciling.Counter())


def test_where_boxes_came_from_is_kept(tmp_path: Path, batch: Batch) -> None:
    before = [region(1, 1, 5, 5) | {"id": "p0"}, region(20, 20, 5, 5) | {"id": "p1"}]
    after = [before[0], region(21, 20, 5, 5) | {"id": "p1"}, region(40, 40, 5, 5) | {"id": "n"}]
    after.append(region(60, 60, 5, 5, origin="prediction") | {"id": "q"})
    returned = read(tmp_path, batch, task(1, annotation(*after), predictions=[{"result": before}]))
    origins = [box.origin for box in returned.answers[0].boxes]
    assert origins == ["prediction", "prediction-changed", "manual", "prediction"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[{"id": 1, "image": "x", "label": []}]', "not as JSON-MIN"),
        ('{"images": [], "annotations": []}', "no JSON export of Label Studio"),
        ('[{"data": {}, "annotations": [{"result": [', "not whole, valid JSON"),
        ('[{"id": 4, "data": {"image": "a"}, "annotations": [{"result": [{"type": "rectanglelabels"}]}]}]', "task 4: "),
    ],
)
def test_what_is_no_export_is_refused(content: str, says: str, tmp_path: Path, batch: Batch) -> None:
    (tmp_path / "e.json").write_text(content)
    with pytest.raises(MgralError, match=says):
        label_studio.read(exchange.sources(tmp_path / "e.json"), batch, label_studio.Options())


def test_the_local_storage_address_is_quoted(tmp_path: Path, batch: Batch) -> None:
    urls = [one["data"]["image"] for one in label_studio.tasks(batch, label_studio.Options())]
    assert urls[0] == f"/data/local-files/?d={tmp_path.name}/x/a%20b.png"
    assert urls[1].endswith("/my%20photo%20%281%29%20%C3%A9.jpg")
