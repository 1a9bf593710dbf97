"""Fetch the answers of a batch from the server of the annotation tool, and take them as `mgral return` does.

Again, it takes nothing as long as nobody answered more.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from mgral.annotation import returns
from mgral.annotation.exchange import Source
from mgral.cli import _people
from mgral.cli.push import server_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _people.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    asked = _people.find(arguments)
    asked.require_registered()
    annotation = asked.params.annotation
    content = server_of(annotation.tool).pull(asked.batch)
    with asked.folder.locked():
        before = asked.folder.returned(asked.batch)
        sha = hashlib.sha256(content).hexdigest()
        same = next((file.name for file in before if file.sha256 == sha), None)
        if same is not None:
            print(f"nothing has changed since {same}")
            print(_people.to_close(arguments.params))
            return
        path = Path("server.json")
        found = [Source(str(path), path.name, content)]
        returned = returns.read(annotation.tool, found, asked.batch, annotation.options)
        outcome = asked.outcome([*asked.read(before), ("the server", returned)])
        (taken,) = asked.folder.take(asked.batch, [(path, found)], annotation.tool)
    print(f"taken as {asked.folder.path / taken.name}")
    print("\n".join([*_people.summary(asked, outcome), _people.to_close(arguments.params)]))
