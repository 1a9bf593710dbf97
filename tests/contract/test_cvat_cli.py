"""The lines of ``commands.txt`` with the real `cvat-cli`; in place of a CVAT, a server that keeps what it is sent."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import batches
import cvat_server
import numpy as np
import pytest
from defusedxml import ElementTree

from mgral.annotation import exchange
from mgral.annotation.exchange import Batch
from mgral.annotation.tools import cvat
from mgral.core.errors import MgralError

PROGRAMS = Path(__file__).resolve().parents[2] / ".venv-cvat/bin"
needs_cvat = pytest.mark.skipif(not PROGRAMS.exists(), reason="needs cvat-cli: `make env-annotation`")


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Images with hostile names and with predictions."""
    rng = np.random.default_rng(0)
    found = [
        replace(image, predictions=batches.predicted(batches.some_boxes(image, rng, 2, whole=True)))
        for image in batches.images(tmp_path / "set")
    ]
    return batches.batch(tmp_path / "set", found)


@pytest.fixture
def server() -> Iterator[cvat_server.Cvat]:
    with cvat_server.serve() as found:
        yield found


def run(line: str, folder: Path, server: cvat_server.Cvat) -> subprocess.CompletedProcess[str]:
    """One line in a shell, in the exported folder."""
    path = os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "CVAT_ACCESS_TOKEN": "secret", "XDG_CONFIG_HOME": str(folder)}
    line = line.replace("https://app.cvat.ai", server.url)
    return subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@needs_cvat
def test_the_lines_make_the_task_and_fetch_it_again(batch: Batch, server: cvat_server.Cvat, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cvat.export(batch, out, cvat.Options())
    create, fetch = [line for line in (out / "commands.txt").read_text().splitlines() if not line.startswith("#")]

    done = run(create, out, server)
    assert done.returncode == 0, done.stderr
    assert server.authorizations == {"Bearer secret"}
    assert server.task["name"] == batch.title
    kinds = {label["name"]: label["type"] for label in server.task["labels"]}
    assert kinds == dict.fromkeys(batch.classes, "rectangle") | dict.fromkeys(cvat.TAGS, "tag")
    assert len(server.task["labels"]) == len(kinds)
    originals = {image.export_name: (batch.root / image.file_name).read_bytes() for image in batch.images}
    assert server.images == originals
    assert server.fields["image_quality"] == "95"
    sent = server.annotations["content"]
    assert server.annotations["format"] == "CVAT 1.1"
    assert sent == (out / "annotations.xml").read_bytes()
    assert {image.get("name") for image in ElementTree.fromstring(sent).iter("image")} == set(originals)

    said = {image.id: [batches.said(image, "finished", ())] for image in batch.images}
    cvat.respond(batch, said, tmp_path)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(tmp_path / "annotations.xml", "annotations.xml")
    server.export = (tmp_path / "export.zip").read_bytes()
    fetch = fetch.replace("TASK", done.stdout.strip())
    done = run(fetch, out, server)
    assert done.returncode == 0, done.stderr
    assert server.asked == {"format": "CVAT for images 1.1", "save_images": "False", "location": "local"}
    back = cvat.read(exchange.sources(out / "returned.zip"), batch, cvat.Options())
    assert [answer.state for answer in back.answers] == ["finished"] * len(batch.images)
    assert run(fetch, out, server).returncode != 0  # as the last line of commands.txt says


def test_without_images_the_lines_say_that_they_are_not_here(batch: Batch, tmp_path: Path) -> None:
    written = cvat.commands(batch, cvat.Options(images=False)).splitlines()
    assert (
        written[0].startswith("# The images are not here")
        and written[2:] == cvat.commands(batch, cvat.Options()).splitlines()
    )


@needs_cvat
def test_names_that_the_client_refuses_are_refused_before(batch: Batch, tmp_path: Path) -> None:
    script = (
        "import json; from cvat_sdk import models; "
        "print(json.dumps([models.PatchedLabelRequest.validations[('name',)]['max_length'], "
        "sorted(models.LabelType.allowed_values[('value',)].values())]))"
    )
    done = subprocess.run([PROGRAMS / "python", "-c", script], capture_output=True, text=True, check=True)
    longest, kinds = json.loads(done.stdout)
    assert longest == cvat.LONGEST
    assert {"rectangle", "tag"} <= set(kinds)


@pytest.mark.parametrize(("name", "why"), [("skip", "is a tag here"), ("x" * 65, "has 65 characters")])
def test_a_class_that_cvat_does_not_take(name: str, why: str, batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(MgralError, match=f"class '{name}': {why}.*; rename it in the data set") as caught:
        cvat.export(replace(batch, classes=(*batch.classes, name)), tmp_path / "out", cvat.Options())
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
