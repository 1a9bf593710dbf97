"""The files of a user's data set, as the workflow sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mgral.config.schema import DatasetParams
from mgral.data import source_files
from mgral.data.source_files import SourceFiles


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``mine``: two annotation files in one folder, a list beside it, and two images."""
    monkeypatch.chdir(tmp_path)
    files = {
        "notes/1.xml": "<a/>",
        "notes/deep/2.XML": "<b/>",
        "train.txt": "1",
        "images/1.jpg": "1",
        "images/2.PNG": "2",
    }
    for name, text in files.items():
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path("mine")


def find(root: str = "mine", **options: Any) -> SourceFiles:
    return source_files.find(DatasetParams.model_construct(root=root, options=options))


@pytest.mark.usefixtures("root")
def test_annotations_are_listed_and_their_roots_lie_as_far_down_as_can_be() -> None:
    assert find().annotations == ["mine/notes/1.xml", "mine/notes/deep/2.XML", "mine/train.txt"]
    assert find().roots == ["mine/notes", "mine/train.txt"]
    assert find("./mine/").annotations == find().annotations


def test_images_are_listed_by_name_and_size(root: Path) -> None:
    before = find()
    (root / "images/1.jpg").write_text("3")  # of the same size: not read, so not noticed
    (root / "notes/1.xml").write_text("<c>longer</c>")  # Snakemake reads the annotations themselves
    assert find() == before
    for change in (
        lambda: (root / "images/1.jpg").write_text("longer"),
        lambda: (root / "images/1.jpg").rename(root / "images/3.jpg"),
        lambda: (root / "images/4.jpg").touch(),
        lambda: (root / "images/2.PNG").unlink(),
    ):
        change()
        after = find()
        assert after.listing != before.listing and after.annotations == before.annotations
        before = after


def test_an_option_may_name_annotations_elsewhere(root: Path) -> None:
    Path("labels.json").write_text("{}")
    Path("more").mkdir()
    Path("more/val.json").write_text("{}")
    found = find(annotations="../labels.json", splits={"val": "../more/val.json", "test": "../missing.json"}, seed=3)
    assert set(found.annotations) - set(find().annotations) == {"labels.json", "more/val.json"}
    assert {"labels.json", "more/val.json"} < set(found.roots)
    assert found.listing == find().listing


def test_links_are_followed_and_a_ring_of_them_is_walked_once(root: Path) -> None:
    (root / "ring").symlink_to("../mine")
    assert find().annotations == ["mine/notes/1.xml", "mine/notes/deep/2.XML", "mine/train.txt"]
    Path("elsewhere").mkdir()
    Path("elsewhere/3.xml").write_text("<d/>")
    (root / "linked").symlink_to("../elsewhere")
    assert "mine/linked/3.xml" in find().annotations
