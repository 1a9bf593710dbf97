"""Files appear whole, seeds are named, parameters say what is wrong."""

from __future__ import annotations

import json

import pytest
from pydantic import Field, model_validator

from mgral.config.base import Settings
from mgral.core import files, plugins, random_streams
from mgral.core.errors import MgralError, nearest


def test_an_output_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_nan_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{'a': 1}", "line 1, column 2"),
        (b"[1, 2", "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_bad_json_names_file_and_place(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(MgralError, match=says) as error:
        files.read_json(path)
    assert str(path) in str(error.value)


def test_streams_depend_on_every_name_and_its_type():
    drawn = {
        random_streams.stream(0, "a"),
        random_streams.stream(1, "a"),
        random_streams.stream(0, "b"),
        random_streams.stream("0", "a"),
        random_streams.stream(0, "a", 0),
    }
    assert len(drawn) == 5
    assert random_streams.stream(0, "a") == random_streams.stream(0, "a")
    assert min(drawn) >= 0 and max(drawn) < 2**63


def test_nearest_name():
    assert nearest("entropi", ["entropy", "random"]).startswith("did you mean 'entropy'?")
    assert nearest("zzz", ["b", "a"]) == "valid: a, b"


class Inner(Settings):
    rate: float = Field(gt=0)


class Outer(Settings):
    inner: Inner
    names: list[Inner] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inner": {"rate": 1, "rat": 2}}, "f.yaml: inner.rat: unknown key; did you mean 'rate'?"),
        ({"iner": {"rate": 1}, "inner": {"rate": 1}}, "f.yaml: iner: unknown key; did you mean 'inner'?"),
        ({}, "f.yaml: inner: missing; set this key"),
        ({"inner": {"rate": 0}}, "f.yaml: inner.rate: Input should be greater than 0 (given: '0')"),
        ({"inner": {"rate": 1}, "names": [{"rte": 1}]}, "f.yaml: names[0].rte: unknown key; did you mean 'rate'?"),
        (None, "f.yaml: inner: missing"),
    ],
)
def test_settings_name_key_and_remedy(given, says):
    with pytest.raises(MgralError) as error:
        Outer.parse(given, "f.yaml:")
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


class Span(Settings):
    low: int
    high: int

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.low > self.high:
            raise ValueError(f"low {self.low} must not lie above high {self.high}")
        return self


class Spans(Settings):
    inner: Span


def test_what_a_group_says_of_itself_comes_without_its_content():
    wrong = {"low": 2, "high": 1}
    for group, given, place in [(Span, wrong, "f.yaml"), (Spans, {"inner": wrong}, "f.yaml: inner")]:
        with pytest.raises(MgralError) as error:
            group.parse(given, "f.yaml:")
        assert str(error.value) == f"{place}: low 2 must not lie above high 1"


def test_unknown_plug_in_names_the_nearest():
    with pytest.raises(MgralError, match="unknown name 'tiny_sd' in detectors; did you mean 'tiny_ssd'"):
        plugins.load("detectors", "tiny_sd")
    with pytest.raises(MgralError, match="unknown kind"):
        plugins.names("detector")


@pytest.mark.parametrize("kind", list(plugins.PACKAGES))
def test_every_plug_in_has_options_that_explain_themselves(kind):
    for name in plugins.names(kind):
        plugin = plugins.load(kind, name)
        assert plugin.__doc__, name
        unexplained = [key for key, field in plugin.Options.model_fields.items() if not field.description]
        assert not unexplained, f"{name}: {unexplained}"
        json.dumps(plugin.Options.model_json_schema())
