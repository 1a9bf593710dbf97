"""A detector behind command lines: what it is given, what it leaves, and what is said when it does not."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from safetensors.numpy import save

from mgral.config.schema import Evaluation
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.detection import backbone_embedding, packed_weights
from mgral.detection.checkpoint import files_beside
from mgral.detection.command_process import run_command
from mgral.detection.detectors.command import Options
from mgral.detection.external import ExternalTrainer

PYTHON = sys.executable
TRAIN = """
import json, sys, pathlib
train, weights, seed, loss, work = sys.argv[1:6]
kept = pathlib.Path(work, "tries"); kept.write_text(kept.read_text() + "x" if kept.exists() else "x")
coco = json.loads(pathlib.Path(train).read_text())
left = {"images": len(coco["images"]), "seed": int(seed), "tries": kept.read_text()}
pathlib.Path(weights).write_text(json.dumps(left))
pathlib.Path(loss).write_text("step,loss\\n0,2.5\\n1,1.25\\n")
"""
SLEEPER = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""
GOOD: dict[str, Any] = {"image_id": 1, "category_id": 2, "bbox": [10, 20, 30, 40], "score": 0.5}


def options(tmp_path: Path, answer: str = "[]", **more: Any) -> Options:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "answer.json").write_text(answer)
    given = {
        "train": f"'{PYTHON}' '{tmp_path}/train.py' {{train}} {{weights}} {{seed}} {{loss}} {{work}}",
        "predict": f"'{PYTHON}' -c \"import sys, shutil; shutil.copy('{tmp_path}/answer.json', sys.argv[2])\""
        " {list} {results} {weights}",
        **more,
    }
    return Options.parse(given, "detector.options")


def trainer(tmp_path: Path, answer: str = "[]", **more: Any) -> ExternalTrainer:
    """Over two images, 64 × 48 pixels, of classes ant and bee; image 1 has one bee."""
    images = {}
    for i in (1, 2):
        Picture.new("RGB", (64, 48), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
        images[i] = Image(i, f"{i}.png", 64, 48, "train" if i == 1 else "val")
    bee = Boxes(np.array([[1, 2, 5, 8]], np.float32), np.array([1]), np.array([True]))
    dataset = Dataset(("ant", "bee"), images, {1: bee, 2: Boxes.empty()}, tmp_path)
    image_cache.build(dataset, 32, tmp_path / "images.npy")
    cache = image_cache.Cache(dataset, tmp_path / "images.npy")
    kept = Evaluation(score_threshold=0.1, nms_iou=0.5, max_detections=2)
    return ExternalTrainer(dataset, cache, options(tmp_path, answer, **more), kept)


def trained(tmp_path: Path, answer: Any) -> ExternalTrainer:
    found = trainer(tmp_path, json.dumps(answer))
    found.train([1], 7, tmp_path / "d.ckpt")
    return found


def test_what_it_is_given_and_what_it_leaves(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    rows = one.train([1], 2**31 + 7, tmp_path / "d.ckpt")
    assert rows == [{"step": 0, "loss": 2.5}, {"step": 1, "loss": 1.25}]
    coco = json.loads((files_beside(tmp_path / "d.ckpt") / "train.json").read_text())
    assert coco["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 4, 6], "area": 24, "iscrowd": 1}
    ]
    assert coco["categories"] == [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}]
    assert one.weights is not None
    assert json.loads(one.weights.read_text()) == {"images": 1, "seed": 7, "tries": "x"}


@pytest.mark.slow
def test_a_training_that_was_killed_finds_its_own_files_again(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.train([1], 0, tmp_path / "d.ckpt")
    one.train([1], 0, tmp_path / "d.ckpt")
    assert one.weights is not None
    assert json.loads(one.weights.read_text())["tries"] == "xx"


def test_weights_travel_as_one_file(tmp_path: Path) -> None:
    one = trained(tmp_path, [])
    one.save(tmp_path / "detector.safetensors")
    first = (tmp_path / "detector.safetensors").read_bytes()
    other = trainer(tmp_path)
    other.load(tmp_path / "detector.safetensors", tmp_path / "unpacked")
    assert other.weights is not None and one.weights is not None
    assert other.weights.read_bytes() == one.weights.read_bytes()
    other.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == first


def test_a_folder_of_weights_travels_too(tmp_path: Path) -> None:
    (tmp_path / "w/inner").mkdir(parents=True)
    (tmp_path / "w/inner/b").write_bytes(b"2")
    (tmp_path / "w/a").write_bytes(b"1")
    packed_weights.write(tmp_path / "w", tmp_path / "p.safetensors")
    found = packed_weights.read(tmp_path / "p.safetensors", tmp_path / "out")
    assert {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*") if p.is_file()} == {
        "a": b"1",
        "inner/b": b"2",
    }


def test_weights_cannot_leave_their_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("../outside")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    (tmp_path / "p.safetensors").write_bytes(save({"archive": data}, metadata=packed_weights.KIND))
    with pytest.raises(MgralError, match=r"p\.safetensors: damaged weights; run `mgral train` again"):
        packed_weights.read(tmp_path / "p.safetensors", tmp_path / "out")
    assert not (tmp_path / "outside").exists()


def test_detections_are_clipped_sorted_and_limited(tmp_path: Path) -> None:
    rows = [
        GOOD,
        {**GOOD, "bbox": [50, 40, 100, 100], "score": 0.9, "probs": [0.1, 0.9]},  # to the corner (64, 48)
        {**GOOD, "score": 0.05},  # below the threshold
        {**GOOD, "score": 0.4},  # the third best, and two are kept
        {**GOOD, "bbox": [70, 0, 5, 5]},  # outside
    ]
    found = trained(tmp_path, rows).infer([1, 2]).detections
    assert found[1].xyxy.tolist() == [[50, 40, 64, 48], [10, 20, 40, 48]]
    assert found[1].scores.tolist() == pytest.approx([0.9, 0.5])
    assert found[1].labels.tolist() == [1, 1]
    assert found[1].probs.tolist() == [pytest.approx([0.1, 0.9]), [0, 0.5]]
    assert len(found[2]) == 0 and found[2].probs.shape == (0, 2)


def ends(pid: int) -> bool:
    """Whether a process is gone within ten seconds; one that nobody has waited for is gone."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_no_process_is_left_behind(tmp_path: Path) -> None:
    """The command starts a second process and is then ended by the time limit, with it."""
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text(SLEEPER)
    (tmp_path / "starter.py").write_text("import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:3]])")
    command = f"'{PYTHON}' '{tmp_path}/starter.py' '{sleeper}' '{tmp_path}/pid' {{weights}} {{train}} {{seed}}"
    one = trainer(tmp_path, train=command, time_limit=2)
    with pytest.raises(MgralError, match="still running"):
        one.train([1], 0, tmp_path / "d.ckpt")
    assert ends(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_child_in_the_background_holds_nothing_up_and_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "starter.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
    )
    command = f"'{PYTHON}' '{tmp_path}/starter.py' {{weights}} {{train}} {{seed}}"
    one = trainer(tmp_path, train=command, time_limit=500)
    one.train([1], 0, tmp_path / "d.ckpt")
    assert one.weights is not None and ends(int(one.weights.read_text()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_job_ends_its_command(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    words = [PYTHON, str(tmp_path / "sleeper.py"), str(tmp_path / "pid")]
    code = (
        "import sys; from mgral.detection import command_process as p; p.run_command(sys.argv[1:], '', None, None, 60)"
    )
    job = subprocess.Popen([PYTHON, "-c", code, *words])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    job.send_signal(how)
    assert job.wait(20) == (
        -how if how == signal.SIGKILL else 128 + how
    )  # the way out, which removes what is temporary
    assert ends(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_child_with_a_session_of_its_own_ends_too(tmp_path: Path, how: signal.Signals | None) -> None:
    """At the time limit, or at a signal; its parent in the command has ended by then."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "starter.py").write_text(
        "import subprocess, sys, time\n"
        "code = 'import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)'\n"
        "subprocess.run([sys.executable, '-c', code, sys.executable, *sys.argv[1:]])\n"
        "time.sleep(600)\n"
    )
    words = [PYTHON, *(str(tmp_path / name) for name in ("starter.py", "sleeper.py", "pid"))]
    code = (  # a shell in whose background the tests run would have it ignore interrupts
        "import signal, sys; from mgral.detection import command_process as p; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"p.run_command(sys.argv[1:], '', None, None, {60 if how else 3})"
    )
    job = subprocess.Popen([PYTHON, "-c", code, *words])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    assert os.getsid(child) == child
    if how:
        job.send_signal(how)
    assert job.wait(30) != 0
    assert ends(child)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_an_interrupt_just_after_the_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)

    class Interrupted(subprocess.Popen[bytes]):
        """Ctrl-C comes once the command is at work and before anything holds its process."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if str(tmp_path / "sleeper.py") in arguments[0]:
                while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                    time.sleep(0.05)
                raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_command([PYTHON, str(tmp_path / "sleeper.py"), str(tmp_path / "pid")], "", None, None, 60)
    assert ends(int((tmp_path / "pid").read_text()))


def test_an_environment_comes_first_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    program = tmp_path / "env/bin/my-trainer"
    program.write_text('#!/bin/sh\nprintf %s "$VIRTUAL_ENV" > "$1"\n')
    program.chmod(0o755)
    one = trainer(tmp_path, train="my-trainer {weights} {train} {seed}", environment=str(tmp_path / "env"))
    one.train([1], 0, tmp_path / "d.ckpt")
    assert one.weights is not None
    assert one.weights.read_text() == str((tmp_path / "env").resolve())


@pytest.mark.slow
def test_embeddings_of_a_backbone_and_of_a_file(tmp_path: Path) -> None:
    embedded = trained(tmp_path, []).infer([2, 1]).embeddings
    assert embedded.ids.tolist() == [1, 2]
    assert embedded.vectors.shape == (2, 256)
    assert not np.allclose(embedded.vectors[0], embedded.vectors[1])
    np.savez(tmp_path / "v.npz", ids=np.array([2, 1, 5]), vectors=np.eye(3, 256, dtype=np.float32))
    assert (backbone_embedding.from_file(tmp_path / "v.npz", [1, 2]) == np.eye(3, 256)[[1, 0]]).all()


def test_the_projection_keeps_distances() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 1000)).astype(np.float32)
    near = backbone_embedding.project(vectors)
    before = np.linalg.norm(vectors[:1] - vectors[1:], axis=1)
    assert np.linalg.norm(near[:1] - near[1:], axis=1) == pytest.approx(before, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("seeded", "warned"), [(True, 0), (False, 1)])
def test_a_command_that_ignores_its_seed_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seeded: bool, warned: int
) -> None:
    """Its score is a random number, drawn with the seed or without."""
    (tmp_path / "t.py").write_text(
        "import random, sys\nr = random.Random(int(sys.argv[2]) if int(sys.argv[3]) else None)\n"
        "open(sys.argv[1], 'w').write(str(r.random()))\n"
    )
    (tmp_path / "p.py").write_text(
        "import json, sys\nscore = float(open(sys.argv[1]).read())\n"
        "row = {'image_id': 2, 'category_id': 1, 'bbox': [1, 1, 9, 9], 'score': 0.1 + score / 2}\n"
        "json.dump([row], open(sys.argv[2], 'w'))\n"
    )
    one = trainer(
        tmp_path,
        train=f"'{PYTHON}' '{tmp_path}/t.py' {{weights}} {{seed}} {int(seeded)} {{train}}",
        predict=f"'{PYTHON}' '{tmp_path}/p.py' {{weights}} {{results}} {{list}}",
        determinism="check",
    )
    one.train([1], 5, tmp_path / "d.ckpt")
    found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(found) == warned
    assert all("two trainings with seed 5 differ on image 2" in message for message in found)
