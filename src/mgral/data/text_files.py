"""Text, JSON and YAML files of a data set, read whole; what cannot be read ends the import in one line."""

from __future__ import annotations

from typing import Any

from mgral.config.loading import read_yaml
from mgral.core.files import read_json
from mgral.data.faults import Findings


def lines(file: str, report: Findings) -> list[str]:
    """Lines of a list that must not be empty, stripped, without blank ones."""
    try:
        text = (report.root / file).read_text(encoding="utf-8-sig")
    except OSError as error:
        report.refuse(file, "", f"cannot be read ({error.strerror})", "check the name and the permissions")
    except UnicodeDecodeError:
        report.refuse(file, "", "not UTF-8 text", "save it as UTF-8")
    found = [entry for entry in map(str.strip, text.splitlines()) if entry]
    if not found:
        report.refuse(file, "", "empty list", "fill or remove it")
    return found


def json(file: str, report: Findings) -> Any:
    """A JSON file."""
    try:
        return read_json(report.root / file)
    except (OSError, ValueError, RecursionError) as error:
        report.refuse(file, "", f"cannot be read ({error})", "mend or replace it")


def yaml(file: str, report: Findings) -> Any:
    """A YAML file."""
    try:
        return read_yaml(report.root / file)
    except (OSError, ValueError, RecursionError) as error:
        report.refuse(file, "", f"cannot be read ({error})", "mend or replace it")
