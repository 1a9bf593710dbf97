"""Label a selected batch. The oracle is the data set, which knows the answers: only the pool changes."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.core.errors import MgralError
from mgral.data import dataset_json
from mgral.data.pool import annotate, read_pool, write_pool
from mgral.data.selection import read_selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "dataset", "pool", "selected")
    _arguments.add_out(parser, "pool.json of the next cycle")


def run(arguments: argparse.Namespace) -> None:
    dataset, selection = dataset_json.read(arguments.dataset), read_selection(arguments.selected)
    pool = annotate(read_pool(arguments.pool, dataset), selection.ids)
    waiting = [i for i in selection.ids if i not in dataset.boxes]
    if waiting:
        raise MgralError(
            f"{arguments.selected}: {len(waiting)} of {len(selection.ids)} images are not annotated in the data set, "
            f"{dataset.images[waiting[0]].file_name} first; annotate them and import it again"
        )
    write_pool(pool, arguments.out)
