"""Writes the reference of all parameters from their schema: ``python -m mgral.config.reference FOLDER``.

- ``base.yaml``: every key with its default, meaning, unit and source. Each experiment overrides some of them.
- ``params.schema.json``: the same for editors, which complete and explain keys in any parameter file by it.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from mgral.config.base import Settings
from mgral.config.schema import Params
from mgral.core.files import whole

COLUMN = 26  # of the comments in base.yaml
WIDTH = 120
EDITORS = "# yaml-language-server: $schema=params.schema.json\n"  # first line of each parameter file
HEAD = """\
# Written by `make params` from src/mgral/config/schema.py: edit that file, not this one.
# Every parameter with its meaning, unit, default and source. These defaults are the demo.
# An experiment overrides some of them: snakemake --cores all --configfile params/<experiment>.yaml
# Lists are replaced whole, groups are merged. Options of plug-ins are listed, with their defaults, by
# `mgral list formats --options`, and likewise detectors, strategies, semi.
"""


def base_yaml() -> str:
    """The text of ``params/base.yaml``."""
    return EDITORS + HEAD + "\n" + "\n".join(_lines(Params, "")) + "\n"


def schema_json() -> str:
    """The text of ``params/params.schema.json``: JSON Schema of a parameter file, in which any key may be left out.

    Names of plug-ins are any text: a new plug-in is one new file, and this one stays.
    """
    schema = Params.model_json_schema()
    schema["title"] = "Parameters of an experiment"
    for group in [schema, *schema["$defs"].values()]:
        for key in group["properties"].values():
            key.pop("title", None)
            key.pop("entries", None)
        if group.get("title") != "Strategy":
            group.pop("required", None)  # base.yaml gives what a file leaves out
    schema["$defs"]["Strategy"]["required"] = ["name"]  # the plug-in's, or a label
    schema["properties"]["strategies"]["items"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Strategy"}]}
    oracle = schema["properties"]["oracle"]
    kinds = schema["$defs"]["Oracle"]["properties"]["kind"]["enum"]
    oracle["anyOf"] = [{"enum": kinds}, {"$ref": oracle.pop("$ref")}]  # `oracle: people` is short for its kind
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def default(field: FieldInfo) -> Any:
    """The default of a key, whether or not a step must be given it."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return extra["default"]
    return field.get_default(call_default_factory=True)


def _lines(group: type[Settings], indent: str) -> Iterator[str]:
    spaced = False
    for name, field in group.model_fields.items():
        inner = field.annotation
        is_group = isinstance(inner, type) and issubclass(inner, Settings)
        if not indent and (is_group or spaced):
            yield ""
        spaced = is_group
        if isinstance(inner, type) and issubclass(inner, Settings):
            yield from _commented(f"{indent}{name}:", _summary(inner))
            yield from _lines(inner, indent + "  ")
            continue
        extra = field.json_schema_extra
        entries = extra.get("entries") if isinstance(extra, dict) else None
        if isinstance(entries, dict):
            yield from _commented(f"{indent}{name}:", field.description or "")
            for entry, value in default(field).items():
                yield from _commented(f"{indent}  {entry}: {_value(value)}", str(entries[entry]))
        else:
            yield from _commented(f"{indent}{name}: {_value(default(field))}", field.description or "")


def _summary(group: type[Settings]) -> str:
    text = (group.__doc__ or "").partition("\n")[0].rstrip(".")
    return text[:1].lower() + text[1:]


def _value(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).partition("\n")[0]


def _commented(text: str, comment: str) -> Iterator[str]:
    """A key with its comment beside it, wrapped; a key that reaches into the column has two spaces before it."""
    lines = textwrap.wrap(comment, WIDTH - max(COLUMN, len(text) + 2) - 2) or [""]
    yield f"{text.ljust(COLUMN - 2)}  # {lines[0]}".rstrip(" #")
    rest = textwrap.wrap(" ".join(lines[1:]), WIDTH - COLUMN - 2)
    yield from (f"{'':{COLUMN}}# {line}" for line in rest)


def main(folder: Path) -> None:
    """Write both files into a folder."""
    for name, text in (("base.yaml", base_yaml()), ("params.schema.json", schema_json())):
        with whole(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
