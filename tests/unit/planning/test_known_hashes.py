"""Hashes of code that are kept between starts: always those that the files would give."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mgral.core.code_hash import code_hash
from mgral.planning.known_hashes import KnownHashes, content

TRAIN = "mgral.cli.train"
FILES = {
    "mgral/__init__.py": "",
    "mgral/cli/__init__.py": "",
    "mgral/cli/train.py": "from mgral import page\n",
    "mgral/page/__init__.py": "",
    "mgral/page/page.html": "<html>",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "src"


def kept(file: Path) -> dict[str, str]:
    hashes: dict[str, str] = json.loads(file.read_text())["hashes"]
    return hashes


def test_a_kept_hash_is_the_one_that_is_given(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "known/code.json"
    found = KnownHashes(file, source).code_hash("mgral.page", TRAIN)
    assert found == code_hash(TRAIN, "mgral.page", source=source)
    assert kept(file) == {f"{TRAIN} mgral.page": found}
    file.write_text(file.read_text().replace(found, "0" * 16))
    assert KnownHashes(file, source).code_hash(TRAIN, "mgral.page") == "0" * 16


@pytest.mark.parametrize(
    "name", ["mgral/cli/train.py", "mgral/page/page.html", "mgral/page/new.css", "mgral/page/a.py"]
)
def test_an_edit_is_seen_also_with_the_size_and_the_time_of_before(source: Path, tmp_path: Path, name: str) -> None:
    file, edited = tmp_path / "code.json", source / name
    first = KnownHashes(file, source).code_hash(TRAIN)
    before = edited.stat() if edited.exists() else None
    edited.write_text({".py": "from mgral import cli\n"}.get(edited.suffix, "<HTML>"))
    if before:
        assert edited.stat().st_size in (before.st_size, before.st_size - 1)
        os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = KnownHashes(file, source).code_hash(TRAIN)
    assert found == code_hash(TRAIN, source=source)
    assert (found == first) == (name == "mgral/page/a.py")  # which nothing imports


def test_nothing_is_kept_of_files_that_are_edited_meanwhile(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "code.json"
    hashes = KnownHashes(file, source)
    (source / "mgral/cli/train.py").write_text("from mgral import cli\n")
    hashes.code_hash(TRAIN)
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"content": "CONTENT"}', '{"content": "CONTENT", "hashes": 1}'])
def test_a_damaged_file_is_written_again(source: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "code.json"
    file.write_text(text.replace("CONTENT", str(content(source))))
    assert KnownHashes(file, source).code_hash(TRAIN) == code_hash(TRAIN, source=source)
    assert list(kept(file)) == [TRAIN]


def test_where_it_cannot_be_written_hashes_are_found_again(source: Path, tmp_path: Path) -> None:
    (tmp_path / "code.json").mkdir()
    assert KnownHashes(tmp_path / "code.json", source).code_hash(TRAIN) == code_hash(TRAIN, source=source)


@pytest.mark.parametrize("name", ["torch/__init__.py", "torch.py"])
def test_nothing_is_kept_of_a_package_among_others(source: Path, tmp_path: Path, name: str) -> None:
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text("")
    KnownHashes(tmp_path / "code.json", source).code_hash(TRAIN)
    assert content(source) is None
    assert not (tmp_path / "code.json").exists()


def test_what_python_compiles_and_pip_writes_changes_nothing(source: Path) -> None:
    before = content(source)
    for name in ("mgral/__pycache__/a.pyc", "__pycache__/b.pyc", "mgral.egg-info/PKG-INFO", "mgral/.page.html.swp"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("")
    assert content(source) == before is not None
