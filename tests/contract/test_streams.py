"""Signals and standard streams, with processes as a user starts them: no traceback, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from partly_annotated import folder
from PIL import Image

pytestmark = pytest.mark.slow

BASE = Path(__file__).parents[2] / "params" / "base.yaml"
MGRAL = [sys.executable, "-m", "mgral.cli"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
PRINTING = [["--help"], ["list", "strategies"], ["list", "strategies", "--options"], ["train", "--help"]]


def end_of(command: str, **given: object) -> subprocess.CompletedProcess[str]:
    """The end of a command of bash in which $MGRAL is the command line."""
    environment = {**ENVIRONMENT, "MGRAL": " ".join(MGRAL)}
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_fault(words: list[str]) -> None:
    done = end_of(f"(sleep 0.1; exec $MGRAL {' '.join(words)}) | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_room_for_what_is_printed_is_one_line(words: list[str]) -> None:
    done = end_of(f"$MGRAL {' '.join(words)} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("mgral: standard output or a temporary file (TMPDIR): cannot be written, the disk")
    assert done.stderr.count("\n") == 1


def test_streams_may_be_closed() -> None:
    done = end_of("$MGRAL check --params - <&-")
    assert done.returncode == 2
    assert done.stderr == "mgral: standard input: is closed; pipe a parameter file, or name one\n"
    assert end_of("$MGRAL list strategies <&- >&- 2>&-").returncode == 0


def test_names_that_the_encoding_of_the_environment_lacks(tmp_path: Path) -> None:
    folder(tmp_path / "set", ["é/a.png", "é/b.png"], ["é/a.png", "é/b.png"])
    (tmp_path / "p.yaml").write_text(
        "dataset: {format: coco, root: set, options: {annotations: labels.json, images: .}}\n"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [*MGRAL, "import", "--params", str(BASE), "p.yaml", "--out", "out.json"]
    done = subprocess.run(
        words, cwd=tmp_path, env={**ENVIRONMENT, **plain}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mgral: ") and "set PYTHONUTF8=1" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose images several processes decode, for seconds."""
    root = tmp_path_factory.mktemp("many")
    (root / "images").mkdir()
    Image.effect_noise((600, 400), 90).save(root / "images/0.jpg")
    count = 4000
    for i in range(1, count):
        (root / f"images/{i}.jpg").hardlink_to(root / "images/0.jpg")
    images = [{"id": i + 1, "file_name": f"{i}.jpg", "width": 600, "height": 400} for i in range(count)]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
    content = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "a"}]}
    (root / "annotations.json").write_text(json.dumps(content))
    (root / "p.yaml").write_text("dataset: {format: coco, root: .}\n")
    return root


def group(leader: int) -> list[int]:
    """Processes of a session that are there and have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process_and_no_traceback(sent: signal.Signals, many: Path, tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of a terminal; Snakemake ends its job alone."""
    out = tmp_path / "out" / "dataset.json"
    words = [*MGRAL, "import", "--params", str(BASE), "p.yaml", "--out", str(out)]
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "2"}
    run = subprocess.Popen(
        words, cwd=many, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(group(run.pid)) < (3 if len(os.sched_getaffinity(0)) > 1 else 1) and time.monotonic() < deadline:
        assert run.poll() is None, run.stdout.read() if run.stdout else ""
        time.sleep(0.01)
    time.sleep(0.2)  # until a process that has just begun has said what it does with signals
    (os.killpg if sent == signal.SIGINT else os.kill)(run.pid, sent)
    text = run.communicate(timeout=60)[0].decode()
    while group(run.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert group(run.pid) == []
    assert "Traceback" not in text
    assert not out.exists() and not list(tmp_path.rglob("*.part*"))
    if sent == signal.SIGINT:
        assert run.returncode == 130
        assert text.endswith("mgral: interrupted; run the same command again to go on\n")
    else:
        assert run.returncode == -sent
