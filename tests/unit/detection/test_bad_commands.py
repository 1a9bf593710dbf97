"""Commands that go wrong: each ends in one line that names the key and the remedy, and leaves no result behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from mgral.config.schema import Evaluation
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.detection import backbone_embedding, command_results, packed_weights
from mgral.detection.detectors.command import Options
from mgral.detection.external import ExternalTrainer

pytestmark = pytest.mark.slow

PYTHON = sys.executable
TRAIN, PREDICT = "detector.options.train", "detector.options.predict"
IMAGES = [Image(1, "1.png", 64, 48, "train"), Image(2, "2.png", 64, 48, "val")]
GOOD: dict[str, Any] = {"image_id": 1, "category_id": 2, "bbox": [10, 20, 30, 40], "score": 0.5}


def ended(error: pytest.ExceptionInfo[MgralError]) -> str:
    """What is said: one line, with a remedy behind a semicolon, or what the value should be."""
    said = str(error.value)
    assert "\n" not in said and ("; " in said or "should be" in said)
    return said


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"image_id": 3}, "image_id 3 was not asked for"),
        ({"image_id": True}, "image_id True is not a whole number"),
        ({"image_id": "1"}, "image_id '1' is not a whole number"),
        ({"image_id": 1.0}, "image_id 1.0 is not a whole number"),
        ({"image_id": "1\n2"}, r"image_id '1\n2' is not a whole number"),
        ({"image_id": [1]}, "image_id [1] is not a whole number"),
        ({"category_id": 0}, "category_id 0 is unknown; use the categories of {train}"),
        ({"category_id": 3}, "category_id 3 is unknown"),
        ({"category_id": 2.0}, "category_id 2.0 is not a whole number"),
        ({"category_id": "bee"}, "category_id 'bee' is not a whole number"),
        ({"category_id": None}, "category_id None is not a whole number"),
        ({"category_id": 10**400}, "category_id 1000000"),
        ({"score": "0.5"}, "score '0.5' is not a number in 0..1"),
        ({"score": float("nan")}, "score nan is not a number in 0..1"),
        ({"score": None}, "score None is not a number in 0..1"),
        ({"score": 1.5}, "score 1.5 is not a number in 0..1"),
        ({"score": -0.1}, "score -0.1 is not a number in 0..1"),
        ({"score": 10**400}, "score 1000000"),
        ({"score": [0.5]}, "score [0.5] is not a number in 0..1"),
        ({"bbox": [1, 2, float("nan"), 4]}, "bbox [1, 2, nan, 4] is not four finite numbers"),
        ({"bbox": [1, 2, 3]}, "bbox [1, 2, 3] is not four finite numbers"),
        ({"bbox": [1, 2, 3, 4, 5]}, "bbox [1, 2, 3, 4, 5] is not four finite numbers"),
        ({"bbox": [1, 2, "3", 4]}, "bbox [1, 2, '3', 4] is not four finite numbers"),
        ({"bbox": [1, 2, 10**400, 4]}, "bbox [1, 2, 1000000"),
        ({"bbox": {"x": 1}}, "bbox {'x': 1} is not four finite numbers"),
        ({"bbox": "1,2\n3,4"}, r"bbox '1,2\n3,4' is not four finite numbers"),
        ({"probs": [0.5, 0.5, 0.0]}, "probs is not 2 numbers in 0..1; write one a category"),
        ({"probs": [0.5, 2]}, "probs is not 2 numbers in 0..1"),
        ({"probs": []}, "probs is not 2 numbers in 0..1"),
        ({"probs": 0.5}, "probs is not 2 numbers in 0..1"),
        ({"probs": [0.1, float("nan")]}, "probs is not 2 numbers in 0..1"),
        ({"probs": ["0.1", 0.2]}, "probs is not 2 numbers in 0..1"),
    ],
)
def test_a_faulty_result(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD, {**GOOD, **row}]))
    with pytest.raises(MgralError) as error:
        command_results.read_detections(path, IMAGES, 2, "sigmoid", 0.1, 10)
    assert ended(error).startswith(f"{PREDICT}: result 1: {says}")


@pytest.mark.parametrize(
    ("probs", "says"),
    [
        (None, "no probs; softmax needs them"),
        ([0.5, 0.5], "probs is not 3 numbers in 0..1; write the background's first"),
        ([0.2, 0.2, 0.2], "probs sum to 0.600; a softmax sums to 1"),
        ([1.0, 0.0, 1.0], "probs sum to 2.000; a softmax sums to 1"),
    ],
)
def test_a_faulty_softmax(tmp_path: Path, probs: list[float] | None, says: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**GOOD, "probs": probs}]))
    with pytest.raises(MgralError) as error:
        command_results.read_detections(path, IMAGES, 2, "softmax", 0.1, 10)
    assert ended(error).startswith(f"{PREDICT}: result 0: {says}")
    path.write_text(json.dumps([{**GOOD, "probs": [0.333, 0.333, 0.333]}]))  # three digits
    assert len(command_results.read_detections(path, IMAGES, 2, "softmax", 0.1, 10)[1]) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "the command left no results; it must write the file {results}"),
        ("", "{results}: not valid JSON at line 1"),
        ('[{"image_id": 1', "{results}: not valid JSON at line 1"),
        ("b'\\xff'", "{results}: not valid JSON at line 1"),
        ("[" * 100_000, "{results}: "),
        ('[{"score": 1, "score": 1}]', "{results}: key 'score' occurs twice"),
        ('{"annotations": []}', "{results} holds no list; write a JSON list"),
        ("null", "{results} holds no list"),
        ('["a"]', "result 0: 'a' is no object; write image_id, category_id, bbox and score of each"),
    ],
)
def test_a_faulty_file_of_results(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MgralError) as error:
        command_results.read_detections(path, IMAGES, 2, "sigmoid", 0.1, 10)
    assert ended(error).startswith(f"{PREDICT}: {says}")


def test_what_is_duplicated_or_empty_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "results.json"
    rows = [GOOD, {**GOOD, "score": 0.4}, {**GOOD, "bbox": [10.0, 20.0, 30.0, 40.0]}, {**GOOD, "bbox": [1, 1, 0, 5]}]
    path.write_text(json.dumps(rows))
    caplog.set_level("INFO")
    found = command_results.read_detections(path, IMAGES, 2, "sigmoid", 0.1, 10)
    assert found[1].scores.tolist() == pytest.approx([0.5, 0.4]) and len(found[2]) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "predict: 1 of 4 boxes have no area inside their image; left out",
        "predict: 1 of 4 results are duplicated; left out",
        "predict: no detection of score 0.1 or more in 1 of 2 images",
    ]


def test_boxes_in_shares_of_the_sides_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "results.json"
    for last, said in (([0.1, 0.2, 0.9, 1], 1), ([1, 1, 9, 9], 0)):
        caplog.clear()
        path.write_text(json.dumps([{**GOOD, "bbox": [0.1, 0.1, 0.5, 0.5]}, {**GOOD, "bbox": last, "note": "\ud800"}]))
        command_results.read_detections(path, IMAGES, 2, "sigmoid", 0.1, 10)
        assert sum("all boxes lie in the first pixel" in one.getMessage() for one in caplog.records) == said


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"ids": [1], "vectors": [[1.0]]}, "image 2 has no vector"),
        ({"ids": [1, 2, 2], "vectors": [[1.0]] * 3}, "image 2 has more than one vector"),
        ({"ids": [1, 2], "vectors": [[1.0], [np.inf]]}, "image 2 is not finite"),
        ({"ids": [1, 2], "vectors": [1.0, 2.0]}, "ids [2] and vectors [2] do not go together"),
        ({"ids": [1, 2], "vectors": [[1.0]]}, "ids [2] and vectors [1, 1] do not go together"),
        ({"ids": [1.0, 2.0], "vectors": [[1.0]] * 2}, "ids [2] and vectors [2, 1] do not go together"),
        ({"ids": [1, 2], "vectors": np.zeros((2, 0))}, "vectors of no number"),
        ({"ids": [1, 2], "vectors": [["a"], ["b"]]}, "not an npz archive of ids and vectors"),
        ({"ids": [1, 2]}, "not an npz archive of ids and vectors"),
        ({"ids": [1, 2], "vectors": np.array([[None], [1]], object)}, "not an npz archive of ids and vectors"),
        ({"ids": [1, 2], "vectors": [["1"], ["2"]]}, "not an npz archive of ids and vectors, both of numbers"),
        ({"ids": [1, 2], "vectors": [[1j], [2j]]}, "not an npz archive of ids and vectors, both of numbers"),
    ],
)
def test_faulty_embeddings(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    np.savez(tmp_path / "v.npz", **{key: np.asarray(value) for key, value in arrays.items()})
    with pytest.raises(MgralError) as error:
        backbone_embedding.from_file(tmp_path / "v.npz", [1, 2])
    assert ended(error).startswith(f"{PREDICT}: {{vectors}}: {says}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step,loss\n",
        "step,loss\n0,nan\n",
        "step,loss\ninf,1\n",
        "step,loss\n0\n",
        "step,loss\n0,1,2\n",
        "step,loss\n0.5,1\n",
        "step,loss\n1e300,1\n",
        "a,b\n0,1\n",
    ],
)
def test_faulty_losses(tmp_path: Path, text: str) -> None:
    (tmp_path / "loss.csv").write_text(text)
    with pytest.raises(MgralError) as error:
        command_results.read_losses(tmp_path / "loss.csv", TRAIN)
    assert ended(error).startswith(f"{TRAIN}: {{loss}} is no CSV of finite numbers")


def test_losses_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    (tmp_path / "loss.csv").write_text("step,loss\r\n1,2.5\r\n", encoding="utf-8-sig")
    assert command_results.read_losses(tmp_path / "loss.csv", TRAIN) == [{"step": 1, "loss": 2.5}]


LINES = {"train": "x {train} {weights} {seed}", "predict": "x {weights} {list} {results}"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"train": "x {train} {weights} {sed}"}, "train: unknown placeholder {sed}; did you mean 'seed'"),
        ({"train": "x {train} {weights}"}, "train: lacks {seed}; put it where"),
        ({"finetune": "x {train} {weights} {seed}"}, "finetune: lacks {start}; put it where"),
        ({"train": "x '{train}"}, "train: cannot be split into words (No closing quotation)"),
        ({"train": "  "}, "train: is empty; give a command line"),
        ({"train": "x {train} {weights} {seed:05d}"}, "train: cannot be split into words ({seed} takes no format)"),
        ({"train": "x {train} {weights} {seed!r}"}, "train: cannot be split into words ({seed} takes no format)"),
        ({"train": "x {train} {weights} {seed} {"}, "train: cannot be split into words ("),
        ({"train": "x {train} {weights} {seed} {}"}, "train: unknown placeholder {}"),
        ({"train": "x {train.x} {train} {weights} {seed}"}, "train: unknown placeholder {train.x}"),
        ({"train": "'' {train} {weights} {seed}"}, "train: is empty"),
        ({"train": "x\0 {train} {weights} {seed}"}, "train: holds a NUL"),
        ({"train": "x {train} {weights} {seed} {results}"}, "train: unknown placeholder {results}"),
        ({"predict": "x {weights} {list} {results} {train}"}, "predict: unknown placeholder {train}"),
        ({"predict": "x {weights} {results}"}, "predict: lacks {list}"),
        ({"environment": "env.yaml"}, "environment: env.yaml: is a file; name a folder"),
        ({"environment": "no.yaml"}, "environment: no.yaml: no such folder; build the environment"),
        ({"environment": "empty"}, "environment: empty: has no folder bin"),
        ({"folder": "env.yaml"}, "folder: env.yaml: is a file; name a folder"),
        ({"time_limit": 0}, "time_limit: "),
        ({"activation": "tanh"}, "activation: "),
    ],
)
def test_faulty_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("env.yaml").write_text("name: x\n")
    Path("empty").mkdir()
    with pytest.raises(MgralError) as error:
        Options.parse({**LINES, **given}, "detector.options")
    assert ended(error).startswith(f"detector.options.{says}") or ended(error).startswith(f"detector.options: {says}")


def trainer(root: Path, training: str, prediction: str, **more: Any) -> ExternalTrainer:
    """Over two images; the commands are Python, and the paths that they write ``out`` and ``more``."""
    root.mkdir(exist_ok=True)
    for one in IMAGES:
        Picture.new("RGB", (64, 48), "red").save(root / one.file_name)
    dataset = Dataset(("ant", "bee"), {one.id: one for one in IMAGES}, {1: Boxes.empty(), 2: Boxes.empty()}, root)
    image_cache.build(dataset, 32, root / "images.npy")
    head = "import json, os, pathlib, subprocess, sys, time; out, more = map(pathlib.Path, sys.argv[1:3]); "
    (root / "train.py").write_text(head + training)
    (root / "predict.py").write_text(head + prediction)
    given = {
        "train": f"'{PYTHON}' '{root}/train.py' {{weights}} {{loss}} {{train}} {{images}} {{seed}}",
        "predict": f"'{PYTHON}' '{root}/predict.py' {{results}} {{vectors}} {{list}} {{images}} {{weights}}",
        **more,
    }
    kept = Evaluation(score_threshold=0.1, nms_iou=0.5, max_detections=2)
    cache = image_cache.Cache(dataset, root / "images.npy")
    return ExternalTrainer(dataset, cache, Options.parse(given, "detector.options"), kept)


LOSS = "more.write_text('step,loss\\n0,1\\n'); "


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ("sys.exit(3)", "the command failed (exit status 3); its own messages are above"),
        ("os.kill(os.getpid(), 9)", "the command failed (signal 9); its own messages are above"),
        ("time.sleep(60)", "still running after 1 s and ended; make it quicker or raise detector.options.time_limit"),
        (f"{LOSS}out.mkdir()", "the command left no weights; it must write the file or folder {weights}"),
        (f"{LOSS}out.write_text('')", "the command left no weights"),
        (f"{LOSS}(out / 'inner').mkdir(parents=True)", "the command left no weights"),
        ("out.write_text('w')", "the command left no loss; it must write the file {loss}, or leave it out"),
        ("out.write_text('w'); more.mkdir()", "{loss} is a folder now; write a file of that name"),
        ("print('{}')", "the command left no weights"),
    ],
)
def test_a_training_that_leaves_too_little(tmp_path: Path, train: str, says: str) -> None:
    with pytest.raises(MgralError) as error:
        limit = 1 if "sleep" in train else 60
        trainer(tmp_path, train, "", time_limit=limit).train([1], 0, tmp_path / "d.ckpt")
    assert ended(error).startswith(f"{TRAIN}: {says}")


@pytest.mark.parametrize(
    ("predict", "says"),
    [
        ("out.write_text('[]'); sys.exit(4)", "the command failed (exit status 4); its own messages are above"),
        ("print('[]')", "the command left no results; it must write the file {results}"),
        ("out.mkdir()", "{results} is a folder now; write a file of that name"),
        ("os.mkfifo(out)", "the command left no results"),
        ("out.write_text('[]')", "the command left no vectors; it must write the file {vectors}, or leave it out"),
        ("out.write_text('[]'); more.mkdir()", "{vectors} is a folder now"),
        ("time.sleep(60)", "still running after 1 s and ended; make it quicker or raise detector.options.time_limit"),
    ],
)
def test_a_prediction_that_leaves_too_little(tmp_path: Path, predict: str, says: str) -> None:
    one = trainer(tmp_path, "", predict, time_limit=1 if "sleep" in predict else 60)
    one.weights = tmp_path / "1.png"
    with pytest.raises(MgralError) as error:
        one.infer([1, 2])
    assert ended(error).startswith(f"{PREDICT}: {says}")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("no-such-program", "no program 'no-such-program' on PATH; install it or set detector.options.environment"),
        ("./no-such-program", "./no-such-program: cannot be started (No such file or directory); correct the command"),
        ("/", "/: cannot be started (Permission denied); correct the command line"),
    ],
)
def test_a_program_that_cannot_be_started(tmp_path: Path, word: str, says: str) -> None:
    with pytest.raises(MgralError) as error:
        trainer(tmp_path, "", "", train=f"{word} {{train}} {{weights}} {{seed}}").train([1], 0, tmp_path / "d.ckpt")
    assert ended(error).startswith(f"{TRAIN}: {says}")


def test_much_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and braces in paths and words, megabytes on both streams, an environment by a relative path."""
    root = tmp_path / "a folder {with} all"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/own").write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
    (tmp_path / "env/bin/own").chmod(0o755)
    train = f"{LOSS}out.write_text(json.dumps([*sys.argv[3:], os.getcwd()])); sys.stderr.write('e' * 2**21)"
    quoted = str(root / "train.py").replace("{", "{{").replace("}", "}}")
    command = f"own '{quoted}' {{weights}} {{loss}} {{train}} {{images}} {{seed}} '{{{{x}}}} y'"
    one = trainer(
        root, train, "print('o' * 2**21)", train=command, predict=LINES["predict"], environment="env", folder="."
    )
    one.train([1], 3, root / "d.ckpt")
    assert one.weights is not None
    data, images, seed, own, where = json.loads(one.weights.read_text())
    assert Path(data).is_file() and (images, seed, own, where) == (str(root), "3", "{x} y", os.getcwd())  # noqa: PTH109


def test_weights_that_there_is_no_room_to_unpack_are_not_called_damaged(tmp_path: Path, small_disk: Any) -> None:
    (tmp_path / "weights").write_bytes(os.urandom(100_000))
    packed_weights.write(tmp_path / "weights", tmp_path / "detector.safetensors")
    with pytest.raises(OSError, match="No space left on device"):
        packed_weights.read(tmp_path / "detector.safetensors", small_disk(8192))
