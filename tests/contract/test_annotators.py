"""What holds for every annotation tool; a new one is found by its name."""

from __future__ import annotations

import inspect
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import batches
import numpy as np
import pytest

from mgral.annotation import box_rules, exchange, matching
from mgral.annotation.exchange import Answer, Batch, Returned, State
from mgral.config.base import Settings
from mgral.core import plugins
from mgral.core.errors import MgralError

TOOLS = plugins.names("annotators")
EXACT = {"cvat": 0.005 + 1e-9}  # pixels, where a file has two decimals; elsewhere 1e-9
MANY_PEOPLE = {"label_studio"}
PEOPLE = set(TOOLS) - {"cvat"}  # its file names nobody, and no seconds


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> ModuleType:
    return plugins.load("annotators", request.param)


def name_of(tool: ModuleType) -> str:
    return tool.__name__.rsplit(".", 1)[-1]


def read(tool: ModuleType, path: Path, batch: Batch) -> Returned:
    result: Returned = tool.read(exchange.sources(path), batch, tool.Options())
    return result


def respond(tool: ModuleType, batch: Batch, answers: dict[int, list[Answer]], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tool.respond(batch, answers, folder)
    return folder


def fitted(answer: Answer, batch: Batch, id: int) -> list[tuple[int, tuple[float, ...], bool]]:
    image = next(image for image in batch.images if image.id == id)
    found = box_rules.fit(answer, image, batch.classes, {}, Counter())
    return [(box.label, box.xyxy, box.ignore) for box in found]


def test_the_five_tools_are_there() -> None:
    assert {"label_studio", "cvat", "coco", "yolo", "voc"} <= set(TOOLS)


def test_its_commands_are_exported(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    files = tool.export(batch, tmp_path / "out", tool.Options())
    names = {path.relative_to(tmp_path / "out").as_posix() for path in files}
    assert (getattr(tool, "COMMANDS", "commands.txt") in names) == hasattr(tool, "COMMANDS")
    assert not (hasattr(tool, "COMMANDS") and hasattr(tool, "push"))


def test_it_explains_itself(tool: ModuleType) -> None:
    assert tool.__doc__
    assert issubclass(tool.Options, Settings)
    for key, field in tool.Options.model_fields.items():
        assert field.description, f"{key} has no description"
        assert not field.is_required(), f"{key} has no default"
    assert {"finished", "skipped", "cannot", "untouched"} <= tool.STATES
    assert list(inspect.signature(tool.export).parameters) == ["batch", "folder", "options"]
    assert list(inspect.signature(tool.read).parameters) == ["sources", "batch", "options"]
    assert list(inspect.signature(tool.respond).parameters) == ["batch", "answers", "folder"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_round_trip_loses_invents_and_moves_nothing(tool: ModuleType, whole: bool, tmp_path: Path) -> None:
    """300 images with hostile names, in every state that the tool knows."""
    names = [*batches.HOSTILE, *(f"f{i % 7}/{i % 50} é&'{i}.png" for i in range(300 - len(batches.HOSTILE)))]
    rng = np.random.default_rng(0)
    found = [
        exchange.BatchImage(i, name, 64 + i % 5, 48 + i % 7, f"{i * 7919:064x}"[::-1], i)
        for i, name in enumerate(names, start=1)
    ]
    shown = [replace(im, predictions=batches.predicted(batches.some_boxes(im, rng, 2, whole))) for im in found]
    batch = batches.batch(tmp_path, shown)
    states: list[State] = sorted(tool.STATES - {"unsaid", "untouched"})
    said: dict[int, list[Answer]] = {}
    for image in batch.images:
        state = states[image.id % len(states)] if image.id % 3 else "finished"
        boxes = batches.some_boxes(image, rng, image.id % 4, whole) if state != "cannot" else ()
        people = ["1", "2"] if name_of(tool) in MANY_PEOPLE and state == "finished" else ["1"]
        if image.id % 11:
            said[image.id] = [batches.said(image, state, boxes, who) for who in people]
    folder = respond(tool, batch, said, tmp_path / "out")
    back = matching.match(read(tool, folder, batch), batch, matching.Images(batch.images))

    tolerance = EXACT.get(name_of(tool), 1e-9) if not whole else 0.0
    for image in batch.images:
        given = [answer for answer in back.get(image.id, []) if answer.state not in ("untouched", "unsaid")]
        sent = said.get(image.id, [])
        if "draft" in {answer.state for answer in sent} and name_of(tool) == "label_studio":
            assert [answer.state for answer in given] == ["draft"]
            continue
        assert [answer.state for answer in given] == [answer.state for answer in sent], image
        if name_of(tool) in PEOPLE:
            assert [answer.who for answer in given] == [answer.who for answer in sent]
        for answer, original in zip(given, sent, strict=True):
            if original.state != "finished":
                continue
            now, then = fitted(answer, batch, image.id), fitted(original, batch, image.id)
            assert [box[0] for box in now] == [box[0] for box in then]
            for a, b in zip(now, then, strict=True):
                assert max(abs(x - y) for x, y in zip(a[1], b[1], strict=True)) <= tolerance
            if name_of(tool) in PEOPLE:
                assert answer.seconds == 12.5


def test_a_prediction_that_nobody_saw_is_no_label(tool: ModuleType, tmp_path: Path) -> None:
    """What was exported comes back as it is: no image is finished."""
    found = batches.images(tmp_path / "set")
    rng = np.random.default_rng(1)
    shown = [replace(im, predictions=batches.predicted(batches.some_boxes(im, rng, 2, False))) for im in found]
    batch = batches.batch(tmp_path / "set", shown)
    keys = set(tool.Options.model_fields)
    tool.export(batch, tmp_path / "out", tool.Options(**({"predictions": True} if "predictions" in keys else {})))
    if name_of(tool) == "label_studio":
        respond(tool, batch, {}, tmp_path / "out")
        (tmp_path / "out/tasks.json").unlink()
    states = {answer.state for answer in read(tool, tmp_path / "out", batch).answers}
    assert states <= {"untouched", "unsaid"}
    assert states


def test_files_that_are_exported_carry_the_images_and_their_ids(tool: ModuleType, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    files = tool.export(batch, tmp_path / "out", tool.Options())
    assert all(path.is_file() for path in files)
    if name_of(tool) != "label_studio":  # it shows the images where they lie
        assert {image.export_name for image in batch.images} <= {path.name for path in files}
    again = tool.export(batch, tmp_path / "again", tool.Options())
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_images_of_another_batch_are_not_left_beside_those_of_this_one(tool: ModuleType, tmp_path: Path) -> None:
    """CVAT's command uploads all that lies in the folder."""
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    tool.export(batch, tmp_path / "out", tool.Options())
    for path in (tmp_path / "out").iterdir():
        if path.is_dir():
            (path / "notes.txt").write_text("mine")
    smaller = replace(batch, images=batch.images[:3])
    files = tool.export(smaller, tmp_path / "out", tool.Options())
    left = {path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "notes.txt"}
    assert left == set(files)
    assert all((path / "notes.txt").exists() for path in (tmp_path / "out").iterdir() if path.is_dir())


def finished(batch: Batch) -> dict[int, list[Answer]]:
    rng = np.random.default_rng(2)
    return {im.id: [batches.said(im, "finished", batches.some_boxes(im, rng, 2, True))] for im in batch.images}


def refused(tool: ModuleType, folder: Path, batch: Batch) -> str:
    with pytest.raises(MgralError) as caught:
        back = matching.match(read(tool, folder, batch), batch, matching.Images(batch.images))
        for id, answers in back.items():
            for answer in answers:
                fitted(answer, batch, id)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert "; " in text, "no remedy"
    return text


def test_a_file_of_another_batch_or_experiment_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    found = batches.images(tmp_path / "set")
    batch = batches.batch(tmp_path / "set", found)
    other = batches.batch(tmp_path / "other", batches.images(tmp_path / "other", size=(80, 90)), experiment="theirs")
    refused(tool, respond(tool, other, finished(other), tmp_path / "a"), batch)
    later = batches.batch(tmp_path / "set", [replace(image, id=image.id + 100) for image in found], cycle=1)
    refused(tool, respond(tool, later, finished(later), tmp_path / "b"), batch)


def test_a_half_written_file_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    folder = respond(tool, batch, finished(batch), tmp_path / "out")
    for path in folder.rglob("*"):
        if path.suffix in {".json", ".xml"} or path.parent.name == "labels":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 3])
    text = refused(tool, folder, batch)
    assert str(folder) in text


def test_an_unknown_class_is_refused_and_the_nearest_named(tool: ModuleType, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    wider = replace(batch, classes=("unicorn", "zebras", *batch.classes[1:]))
    assert wider.id == batch.id
    said = finished(batch)
    said[3] = [replace(said[3][0], boxes=(exchange.AnswerBox("zebras", (1.0, 2.0, 9.0, 9.0)),))]
    wider = replace(wider, classes=("zebras", *batch.classes))
    text = refused(tool, respond(tool, wider, said, tmp_path / "out"), batch)
    assert "unknown class 'zebras'" in text
    assert "did you mean 'zebra'?" in text


def test_an_empty_folder_or_nothing_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MgralError):
        read(tool, tmp_path / "empty", batch)
    with pytest.raises(MgralError, match="no such file or folder"):
        read(tool, tmp_path / "none", batch)


def test_an_archive_is_read_as_the_folder_in_it(tool: ModuleType, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    folder = respond(tool, batch, finished(batch), tmp_path / "out")
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)

    def seen(returned: Returned) -> Sequence[tuple[str, State, object]]:
        return sorted((answer.name, answer.state, answer.boxes) for answer in returned.answers)

    assert seen(read(tool, tmp_path / "packed.zip", batch)) == seen(read(tool, folder, batch))
    packed = tmp_path / "ours.zip"
    packed.write_bytes(exchange.pack(exchange.sources(folder)))
    assert seen(read(tool, packed, batch)) == seen(read(tool, folder, batch))
    assert packed.read_bytes() == exchange.pack(exchange.sources(folder))


def test_the_tools_own_order_of_classes_does_not_matter(tool: ModuleType, tmp_path: Path) -> None:
    batch = batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))
    turned = replace(batch, classes=tuple(reversed(batch.classes)))
    folder = respond(tool, turned, finished(batch), tmp_path / "out")
    back = matching.match(read(tool, folder, batch), batch, matching.Images(batch.images))
    for id, answers in finished(batch).items():
        assert [box[0] for box in fitted(back[id][0], batch, id)] == [box[0] for box in fitted(answers[0], batch, id)]
