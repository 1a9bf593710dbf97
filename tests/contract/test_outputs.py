"""What a verb writes, for all verbs: it replaces no input, no other output, and nothing that is not a regular file."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgral import cli

parser_of = functools.cache(cli.parser_of)


@functools.cache
def options(verb: str) -> dict[str, argparse.Action]:
    """Options that take paths, by their first name; an argument without option by its own."""
    actions = parser_of(verb)._actions
    found = [one for one in actions if one.type is Path or one.dest == "params"]
    return {one.option_strings[0] if one.option_strings else one.dest: one for one in found}


def written(verb: str) -> list[str]:
    """Options that name what a verb writes."""
    names = {"out", *getattr(importlib.import_module(cli.module(verb)), "OUTPUTS", ())}
    return [option for option, action in options(verb).items() if action.dest in names]


WRITING = [verb for verb in cli.VERBS if written(verb)]
OUTPUTS = [(verb, option) for verb in WRITING for option in written(verb)]
INPUTS = [(verb, out, name) for verb, out in OUTPUTS for name in options(verb) if name not in written(verb)]


def command(verb: str, folder: Path, chosen: dict[str, Path]) -> list[str]:
    """A command with all that is required, each input a file of its own; ``chosen`` by option."""
    parser, line = parser_of(verb), [verb]
    exclusive = {one.dest: group for group in parser._mutually_exclusive_groups for one in group._group_actions}
    taken = {id(exclusive[options(verb)[name].dest]) for name in chosen if options(verb)[name].dest in exclusive}
    for action in parser._actions:
        name = action.option_strings[0] if action.option_strings else action.dest
        group = exclusive.get(action.dest)
        if name not in chosen and group is not None and group.required and id(group) not in taken:
            taken.add(id(group))
        elif name not in chosen and not action.required:
            continue
        value = str(action.choices[0]) if action.choices else "0"  # type: ignore[index]
        if name in options(verb):
            path = chosen.get(name, folder / f"own{name}.json")
            if name not in chosen and name not in written(verb):
                path.write_text("{}")
            value = str(path)
        line += [name, value] if action.option_strings else [value]
    return line


def refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(line) == 2, line
    (said,) = capsys.readouterr().err.splitlines()
    return said


def test_the_loop_is_over_all_that_write() -> None:
    silent = {"push", "pull", "return", "close", "forecast", *cli.LOOKING}  # these are given no output by name
    assert set(WRITING) == set(cli.VERBS) - silent
    for verb in cli.VERBS:
        for name, action in options(verb).items():
            assert ("to write" in (action.help or "")) <= (name in written(verb)), (verb, name)


@pytest.mark.parametrize(("verb", "out", "name"), INPUTS)
@pytest.mark.parametrize("linked", [False, True])
def test_no_output_replaces_an_input(
    verb: str, out: str, name: str, linked: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"kept": 1}')
    target = tmp_path / "output.json" if linked else path
    if linked:
        target.symlink_to(path)
    said = refused(command(verb, tmp_path, {out: target, name: path}), capsys)
    assert f"{target.name}: is an input too, which {out} would replace" in said
    assert json.loads(path.read_text()) == {"kept": 1}


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Files that are not regular, by kind."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket")
        os.chdir(before)
        names = ("pipe", "linked", "socket")
        yield {"device": Path("/dev/null"), **{name: tmp_path / name for name in names}}


@pytest.mark.parametrize(("verb", "out"), OUTPUTS)
@pytest.mark.parametrize("kind", ["device", "pipe", "linked", "socket"])
def test_no_output_replaces_what_is_not_a_regular_file(
    verb: str, out: str, kind: str, odd: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = odd[kind]
    before = path.lstat()
    said = refused(command(verb, tmp_path, {out: path}), capsys)
    assert f"{path}: not a regular file" in said
    assert path.lstat().st_mode == before.st_mode and path.lstat().st_ino == before.st_ino


@pytest.mark.parametrize(("verb", "out"), OUTPUTS)
def test_a_file_where_a_folder_is_meant_and_the_reverse_are_refused_before_the_work(
    verb: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After hours of training it is too late."""
    place = tmp_path / "place"
    wants_folder = (options(verb)[out].help or "").startswith("folder ")
    assert wants_folder == (
        options(verb)[out].dest in getattr(importlib.import_module(cli.module(verb)), "FOLDERS", ())
    )
    if wants_folder:
        place.write_text("kept")
    else:
        place.mkdir()
    said = refused(command(verb, tmp_path, {out: place}), capsys)
    assert f"{place}: is a {'file' if wants_folder else 'folder'}, and {out} names a" in said
    assert place.read_text() == "kept" if wants_folder else not list(place.iterdir())


@pytest.mark.parametrize("verb", [verb for verb in WRITING if len(written(verb)) > 1])
def test_no_output_replaces_another(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = written(verb)
    (tmp_path / "there").mkdir()
    both: dict[str, Path] = {first: tmp_path / "x.json", second: tmp_path / "there/../x.json"}
    said = refused(command(verb, tmp_path, both), capsys)
    assert first in said and second in said and "give each a file of its own" in said
    assert not (tmp_path / "x.json").exists()


def coco(path: Path, **image: Any) -> str:
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg", **image}], "annotations": []}))
    return path.read_text()


@pytest.mark.parametrize("option", [[], ["--redraw"]])
def test_the_import_does_not_replace_annotations(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are an input that the command does not name."""
    before = coco(tmp_path / "annotations.json")
    given: dict[str, Any] = {"format": "coco", "root": str(tmp_path), "on_invalid": "fail", "options": {}}
    given["splits"] = {"val": 0, "test": 0, "seed": 0}
    (tmp_path / "p.json").write_text(json.dumps({"dataset": given}))
    line = ["import", "--params", str(tmp_path / "p.json"), *option, "--out", str(tmp_path / "annotations.json")]
    assert "annotations.json: no data set of an earlier import" in refused(line, capsys)
    assert (tmp_path / "annotations.json").read_text() == before


def test_a_generated_data_set_replaces_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"train": 2, "val": 1, "test": 1, "size": 32}
    given = {"format": "synthetic", "root": None, "on_invalid": "fail", "splits": {"val": 0, "test": 0, "seed": 0}}
    (tmp_path / "p.json").write_text(json.dumps({"dataset": {**given, "options": options}}))
    line = ["generate", "--params", str(tmp_path / "p.json"), "--out", str(tmp_path / "set")]
    assert cli.main(line) == cli.main(line) == 0  # its own is made again
    before = coco(tmp_path / "set/annotations.json")
    capsys.readouterr()
    assert "is of a data set that was not generated" in refused(line, capsys)
    assert (tmp_path / "set/annotations.json").read_text() == before
