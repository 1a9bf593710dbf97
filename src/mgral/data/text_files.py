"""Text, JSON and YAML files of a data set, read whole; what cannot be read ends the import in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mgral.config.loading import read_yaml
from mgral.core.files import read_json, read_text
from mgral.data import locating
from mgral.data.faults import Findings


def text(file: str, report: Findings) -> str:
    """A text file in UTF-8."""
    path = report.root / file
    try:
        locating.finder(report).admit(path, report)
        return read_text(path)
    except OSError as error:
        report.refuse(file, "", f"cannot be read ({error.strerror})", "check the name and the permissions")
    except UnicodeDecodeError:
        report.refuse(file, "", "not UTF-8 text", "save it as UTF-8")


def lines(file: str, report: Findings) -> list[str]:
    """Lines of a list that must not be empty, stripped, without blank ones."""
    found = [entry for entry in map(str.strip, text(file, report).splitlines()) if entry]
    if not found:
        report.refuse(file, "", "empty list", "fill or remove it")
    return found


def numbered(file: str, report: Findings) -> list[str]:
    """Lines whose place counts: as :func:`lines`, and a blank line between others is refused."""
    entries = [entry.strip() for entry in text(file, report).rstrip().splitlines()]
    if not any(entries):
        report.refuse(file, "", "empty list", "fill or remove it")
    if "" in entries:
        what = f"line {entries.index('') + 1}: blank, so it is not clear whether the lines after it keep their numbers"
        report.refuse(file, "", what, "remove it, or put a name there")
    return entries


def json(file: str, report: Findings) -> Any:
    """A JSON file that an option names. It may name one elsewhere (``../labels.json``): that is no link."""
    try:
        if Path(os.path.normpath(report.root / file)).is_relative_to(os.path.normpath(report.root)):
            locating.finder(report).admit(report.root / file, report)
        if not locating.exists(report.root / file):
            others = locating.finder(report).others(".json", report)
            hint = f": {', '.join(others[:3])} {'exists' if len(others) == 1 else 'exist'}" if others else ""
            report.refuse(file, "", f"no such file{hint}", "name it in options.annotations")
        return read_json(report.root / file, halves=True)  # they may stand where nothing is read
    except (OSError, ValueError, RecursionError) as error:
        report.refuse(file, "", f"cannot be read ({error})", "fix or replace it")


def yaml(file: str, report: Findings) -> Any:
    """A YAML file."""
    try:
        locating.finder(report).admit(report.root / file, report)
        return read_yaml(report.root / file)
    except (OSError, ValueError, RecursionError) as error:
        report.refuse(file, "", f"cannot be read ({error})", "fix or replace it")
