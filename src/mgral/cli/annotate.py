"""Label a selected batch. The oracle is the data set, which knows the answers: only the pool changes."""

from __future__ import annotations

import argparse

from mgral import pools, selections
from mgral.cli import _arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "pool", "selected")
    _arguments.add_out(parser, "pool.json of the next cycle")


def run(arguments: argparse.Namespace) -> None:
    selection = selections.read(arguments.selected)
    pools.write(pools.annotate(pools.read(arguments.pool), selection.ids), arguments.out)
