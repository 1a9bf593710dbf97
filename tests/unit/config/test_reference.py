"""params/base.yaml and params/params.schema.json: written from the schema, and true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mgral.config import loading, reference
from mgral.config.base import Settings
from mgral.config.schema import Params

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "params"
FILES = sorted([*FOLDER.glob("*.yaml"), *ROOT.glob("examples/*/*.yaml")])


def test_the_files_are_as_the_schema_writes_them() -> None:
    remedy = "edit src/mgral/config/schema.py, then run `make params`"
    assert (FOLDER / "base.yaml").read_text(encoding="utf-8") == reference.base_yaml(), remedy
    assert (FOLDER / "params.schema.json").read_text(encoding="utf-8") == reference.schema_json(), remedy


def keys(group: type[Settings]) -> Iterator[tuple[str, Any]]:
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from ((f"{name}.{inner}", found) for inner, found in keys(field.annotation))
        else:
            yield name, field


def test_every_key_has_a_meaning_and_a_default() -> None:
    found = dict(keys(Params))
    assert len(found) > 60
    assert [name for name, field in found.items() if not field.description] == []
    base = loading.read_yaml(FOLDER / "base.yaml")
    for name, field in found.items():
        value = base
        for part in name.split("."):
            value = value[part]
        assert value == reference.default(field), name


def test_the_defaults_are_an_experiment() -> None:
    assert loading.read([FOLDER / "base.yaml"]).experiment == "demo"


@pytest.fixture(scope="module")
def schema() -> Any:
    """A validator of the schema that lies beside the parameter files."""
    schema = json.loads((FOLDER / "params.schema.json").read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_editors_accept_each_parameter_file(path: Path, schema: Any) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    if named != first:
        assert (path.parent / named).resolve() == FOLDER / "params.schema.json"
    schema.validate(loading.read_yaml(path))


@pytest.mark.parametrize(
    "wrong",
    [
        {"traning": {}},
        {"search": {"iteration": 5}},
        {"search": {"iterations": 0}},
        {"evaluation": {"nms_iou": 1.5}},
        {"detector": {"name": 5}},
        {"strategies": [5]},
        {"strategies": [{"plugin": "entropy"}]},
        {"proxy": {"generators": {"randon": 1}}},
    ],
)
def test_editors_mark_what_is_refused(wrong: dict[str, Any]) -> None:
    schema = json.loads(reference.schema_json())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
