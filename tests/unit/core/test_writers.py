"""Outputs of two writers at once, what a killed writer leaves, and inputs and outputs that are no regular files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mgral import cli
from mgral.config import loading
from mgral.core.errors import MgralError, shown
from mgral.core.files import read_json, require_regular, whole, write_json


def test_two_writers_of_one_output_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    with whole(out) as first:
        first.write_text("first, which is longer")
        with whole(out) as second:
            assert first != second
            second.write_text("second")
        assert out.read_text() == "second"
    assert out.read_text() == "first, which is longer"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".x.0123abcd.part.json"
    left.write_bytes(bytes(100))
    (tmp_path / ".x.other.json").write_text("not of a writer")
    write_json(tmp_path / "x.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x.other.json", "x.json"]


def test_an_output_replaces_no_pipe_and_no_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MgralError, match="pipe: is not a regular file and is not replaced"):
        write_json(tmp_path / "pipe", 1)
    assert (tmp_path / "pipe").is_fifo()


def test_a_long_name_is_written(tmp_path: Path) -> None:
    write_json(tmp_path / ("ä" * 120 + ".json"), 1)
    with pytest.raises(MgralError, match="cannot be written"):
        write_json(tmp_path / ("x" * 300), 1)


def test_pipes_and_devices_are_no_inputs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(PermissionError):
            require_regular(path)
        with pytest.raises(MgralError, match="not a regular file"):
            read_json(path)
        with pytest.raises(MgralError, match="not a regular file"):
            loading.read_yaml(path)


def test_the_command_line_refuses_pipes_and_outputs_that_are_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "d.json").write_text("{}")
    pipe, file = str(tmp_path / "pipe"), str(tmp_path / "d.json")
    assert cli.main(["annotate", "--dataset", pipe, "--pool", file, "--selected", file, "--out", "o"]) == 2
    assert "pipe: not a regular file" in capsys.readouterr().err
    assert cli.main(["annotate", "--dataset", file, "--pool", file, "--selected", file, "--out", file]) == 2
    assert "d.json: is an input too" in capsys.readouterr().err
    assert cli.main(["annotate", "--dataset", "x" * 300, "--pool", "a\0b", "--selected", file, "--out", "o"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "key 'c' occurs twice"),
        ("[" + "9" * 5000 + "]", "thousands of digits"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_json_that_readers_disagree_about(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(MgralError, match=says) as caught:
        read_json(tmp_path / "x.json")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "key 'a' occurs twice at line 3"),
        ("x: {a: 1, a: 2}", "key 'a' occurs twice"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 10)}]\n" for k in range(7)
        ), "aliases expand to more than"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("? [a, b]\n: 1", "not valid YAML"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(text: str, says: str) -> None:
    with pytest.raises(MgralError, match=says) as caught:
        loading.parse_yaml(text, "p.yaml")
    assert len(str(caught.value)) < 300


def test_a_long_value_is_cut_in_messages() -> None:
    deep: list[object] = []
    for _ in range(60):
        deep = [deep] * 10
    for value in ("x" * 10**6, 10**5000, deep, {"k": deep}, json.loads('"\\ud800"')):
        assert len(shown(value)) <= 60
        assert shown(value).isprintable()


@pytest.mark.parametrize("text", ['"\\ud800"', '{"a": ["x \\uDFFF y"]}', '["\\ud83d", "\\ude00"]'])
def test_half_a_character_is_refused_and_a_whole_one_is_not(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(MgralError, match=r"x.json: .* holds half a character \(a lone surrogate\); fix or replace it"):
        read_json(tmp_path / "x.json")
    read_json(tmp_path / "x.json", halves=True)
    (tmp_path / "x.json").write_text('["\\ud83d\\ude00", "\\\\ud800", "\\u003a"]')
    assert read_json(tmp_path / "x.json") == ["\U0001f600", "\\ud800", ":"]


def test_a_text_that_is_none_in_utf_8_is_not_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(MgralError, match=r"x.json: cannot be written as UTF-8: .*a\\ud800b.* holds half a character"):
        write_json(tmp_path / "x.json", ["a\ud800b"])
    assert read_json(tmp_path / "x.json") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
