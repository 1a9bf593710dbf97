"""Label a selected batch. The oracle is the data set, which knows the answers: only the pool changes."""

from __future__ import annotations

import argparse

from mgral import datasets, pools, selections
from mgral.cli import _arguments
from mgral.errors import MgralError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "dataset", "pool", "selected")
    _arguments.add_out(parser, "pool.json of the next cycle")


def run(arguments: argparse.Namespace) -> None:
    dataset, selection = datasets.read(arguments.dataset), selections.read(arguments.selected)
    pool = pools.annotate(pools.read(arguments.pool, dataset), selection.ids)
    waiting = [i for i in selection.ids if i not in dataset.boxes]
    if waiting:
        raise MgralError(
            f"{arguments.selected}: {len(waiting)} of {len(selection.ids)} images are not annotated in the data set, "
            f"{dataset.images[waiting[0]].file_name} first; annotate them and import it again"
        )
    pools.write(pool, arguments.out)
