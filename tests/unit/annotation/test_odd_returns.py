"""Returned files that can be parsed and hold what no tool means: numbers without bound, other types, damaged archives.

Each of these ended with a traceback once; tests/fuzz/spoil_returns.py found them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import batches
import numpy as np
import pytest

from mgral.annotation import exchange, matching
from mgral.annotation.exchange import Batch
from mgral.annotation.returns import ReturnedFile
from mgral.core import plugins
from mgral.core.errors import MgralError


def replaced(old: str, new: str) -> Callable[[Path], None]:
    """Put a text in place of the first of another in a file."""

    def change(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return batches.batch(tmp_path / "set", batches.images(tmp_path / "set"))


def respond(tool: str, batch: Batch, folder: Path) -> None:
    rng = np.random.default_rng(0)
    said = {im.id: [batches.said(im, "finished", batches.some_boxes(im, rng, 2, True))] for im in batch.images}
    folder.mkdir()
    plugins.load("annotators", tool).respond(batch, said, folder)


@pytest.mark.parametrize(
    ("tool", "file", "change"),
    [
        ("label_studio", "export.json", replaced('"original_width": 65', '"original_width": Infinity')),
        ("label_studio", "export.json", replaced('"original_width": 65', f'"original_width": {"9" * 5000}')),
        ("label_studio", "export.json", replaced('"sha256": "', '"sha256": 1.5, "was": "')),
        ("label_studio", "export.json", replaced('"batch": "', '"batch": 7, "was": "')),
        ("label_studio", "export.json", replaced('"id": 1', '"id": [1]')),
        ("coco", "annotations.json", replaced('"bbox": [', f'"bbox": [1{"0" * 400}, 1, 1, 1], "was": [')),
        ("voc", "Annotations/000001_*.xml", replaced("<width>65", "<width>inf")),
        ("coco", "states.csv", replaced("12.5", "nan")),
        ("yolo", "states.csv", replaced("12.5", "-1")),
    ],
)
def test_it_is_refused_in_one_line(
    tool: str, file: str, change: Callable[[Path], None], batch: Batch, tmp_path: Path
) -> None:
    respond(tool, batch, tmp_path / "out")
    (path,) = (tmp_path / "out").glob(file)
    change(path)
    plugin = plugins.load("annotators", tool)
    with pytest.raises(MgralError) as caught:
        plugin.read(exchange.sources(tmp_path / "out"), batch, plugin.Options())
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_time_that_is_none_is_not_taken(batch: Batch, tmp_path: Path) -> None:
    """Label Studio writes what the browser's clock says; labels are no worse for it."""
    respond("label_studio", batch, tmp_path / "out")
    replaced('"lead_time": 12.5', '"lead_time": NaN')(tmp_path / "out/export.json")
    replaced('"lead_time": 12.5', '"lead_time": -3')(tmp_path / "out/export.json")
    plugin = plugins.load("annotators", "label_studio")
    returned = plugin.read(exchange.sources(tmp_path / "out"), batch, plugin.Options())
    found = matching.match(returned, batch, matching.Images(batch.images))
    assert [found[i][0].seconds for i in (1, 2, 3)] == [None, None, 12.5]


def test_a_damaged_archive_is_refused(batch: Batch, tmp_path: Path) -> None:
    respond("coco", batch, tmp_path / "out")
    path = tmp_path / "out.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "out/annotations.json", "annotations.json")
    content = bytearray(path.read_bytes())
    content[60:64] = b"\xff\xff\xff\xff"  # within the compressed data
    path.write_bytes(content)
    with pytest.raises(MgralError, match=r"out\.zip: damaged archive .*; export it again"):
        exchange.sources(path)


@pytest.mark.parametrize("packed", [True, False])
def test_what_holds_no_annotations_is_refused_by_its_name(packed: bool, tmp_path: Path) -> None:
    place = tmp_path / "given"
    if packed:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("readme.md", "-")
    else:
        place.mkdir()
        (place / "readme.md").touch()
    with pytest.raises(MgralError, match=f"{place}: holds no annotations; give what the annotation tool exported"):
        exchange.sources(place)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("classes", 0), 7),
        (("classes", 0), ["zebra"]),
        (("images", 0, "file_name"), True),
        (("images", 0, "sha256"), 5),
        (("images", 0, "reason"), "far"),
        (("images", 0, "id"), 2),
        (("images", 0, "id"), 1e400),
        (("experiment",), None),
    ],
)
def test_a_spoilt_manifest_is_refused_in_one_line(
    place: tuple[str | int, ...], value: object, batch: Batch, tmp_path: Path
) -> None:
    exchange.write_batch(batch, tmp_path / "manifest.json")
    content = found = json.loads((tmp_path / "manifest.json").read_text())
    for key in place[:-1]:
        found = found[key]
    found[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(MgralError, match=r"manifest\.json: not the manifest of a batch; run `mgral export` again"):
        exchange.read_batch(tmp_path / "manifest.json")


@pytest.mark.parametrize("name", ["../../001-coco.json", "x" * 300, "001-", ""])
def test_a_name_of_a_returned_file_stays_in_its_folder(name: str) -> None:
    given = {"name": name, "sha256": "0", "tool": "coco"}
    if name == "001-":
        assert ReturnedFile.parse(given, "returned.json:").name == name
        return
    with pytest.raises(MgralError, match=r"returned\.json: name: String should"):
        ReturnedFile.parse(given, "returned.json:")
