"""Take what an annotation tool returned for a batch: files, folders or zip archives, as it exported them.

Everything is checked first, together with what was returned before; a file with a fault is not taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mgral.cli import _people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, help="what the annotation tool exported")
    parser.add_argument("--tool", help="that exported them, if it is not annotation.tool (mgral list annotators)")
    what = "earlier cycle whose batch the files hold, with corrected labels; these count from the next cycle on"
    parser.add_argument("--corrects", type=int, metavar="CYCLE", help=what)
    _people.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    asked = _people.find(arguments)
    asked.require_registered()
    tool = arguments.tool or asked.params.annotation.tool
    new = [(path, *_people.read_one(path, tool, asked, arguments.corrects)) for path in arguments.files]
    with asked.folder.locked():
        before = asked.read(asked.folder.returned(asked.batch))
        outcome = asked.outcome([*before, *((str(path), returned) for path, _, returned in new)])
        taken = asked.folder.take(asked.batch, [(path, found) for path, found, _ in new], tool, arguments.corrects)
    for (path, _, _), entry in zip(new, taken, strict=True):
        print(f"{path}: taken as {asked.folder.path / entry.name}")
    print("\n".join([*_people.summary(asked, outcome), _people.to_close(arguments.params)]))
