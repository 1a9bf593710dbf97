"""Show the progress of people with a batch: asked, finished, skipped, open, boxes, conflicts, minutes."""

from __future__ import annotations

import argparse

from mgral.cli import _people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _people.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    asked = _people.find(arguments, closed=True)
    outcome = asked.outcome(asked.read(asked.folder.returned(asked.batch)))
    print("\n".join(_people.summary(asked, outcome)))
    if asked.folder.closed.exists():
        print("closed: the run goes on with these labels; next:")
        print("\n".join(_people.going_on(arguments.params)))
    else:
        print(_people.to_close(arguments.params))
