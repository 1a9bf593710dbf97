"""Label a selected batch: the pool of the next cycle.

The oracle is the data set, which knows the answers, or what people said: with --labels, images that they finished are
labelled, skipped ones rest for a cycle, those that cannot be labelled leave the pool, and registered ones may join.
"""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path

from mgral.cli import _arguments
from mgral.core.errors import MgralError
from mgral.data import dataset_json
from mgral.data.pool import Pool, annotate, check_complete, read_pool, write_pool
from mgral.data.selection import Selection, read_selection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "dataset", "pool", "selected")
    parser.add_argument("--labels", type=Path, help="labels.json: what people said of the batch")
    _arguments.add_out(parser, "pool.json of the next cycle")


def run(arguments: argparse.Namespace) -> None:
    dataset = dataset_json.read(arguments.dataset)
    selection = read_selection(arguments.selected, dataset)
    before = read_pool(arguments.pool, dataset)
    _check_origin(arguments.selected, selection, arguments.pool, before)
    if arguments.labels is not None:
        from mgral.annotation.labels import read_states

        states, asked, added = read_states(arguments.labels)
        other = len(set(selection.ids) ^ set(asked))
        if other:
            logging.warning(
                "%s: %d images are in one of the batch that people answered and the batch that is selected now; what "
                "they answered counts",
                arguments.labels,
                other,
            )
        said = {state: [i for i, one in states.items() if one == state] for state in set(states.values())}
        new = [i for i in said.get("finished", []) if i not in before.labelled]
        write_pool(annotate(before, new, said.get("skipped", ()), said.get("cannot", ()), added), arguments.out)
        return
    check_complete(before, dataset, arguments.pool)
    pool = annotate(before, selection.ids)
    waiting = [i for i in selection.ids if i not in dataset.boxes]
    if waiting:
        raise MgralError(
            f"{arguments.selected}: {len(waiting)} of {len(selection.ids)} images are not annotated in the data set, "
            f"{dataset.images[waiting[0]].file_name} first; annotate them and import it again"
        )
    write_pool(pool, arguments.out)


def _check_origin(selected: Path, selection: Selection, pool_path: Path, pool: Pool) -> None:
    """Raises MgralError for a selection of another cycle, or of another seed than the folder of the pool says."""
    if selection.cycle != pool.cycle:
        raise MgralError(f"{selected}: of cycle {selection.cycle}, the pool is of cycle {pool.cycle}; give its own")
    folder = re.search(r"seed-(\d{1,18})$", pool_path.absolute().parent.parent.name)
    if folder and int(folder.group(1)) != selection.seed:
        raise MgralError(f"{selected}: of seed {selection.seed}, the pool is of seed {folder.group(1)}; give its own")
