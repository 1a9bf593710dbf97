"""Bring a data set into canonical form, checking every image and box.

Over an earlier dataset.json, images keep their ids and splits; new ones join train, unless the data set names their
split. Splits are drawn again only if dataset.splits has changed, or with --redraw. Of registered images those that were
added after the run began stay out: they join by `mgral close`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mgral.cli import _arguments
from mgral.config import loading
from mgral.config.base import Positive, Settings
from mgral.config.schema import Budget, DatasetParams
from mgral.core.errors import MgralError
from mgral.data import dataset_json, identity, importing
from mgral.data.pool import shortage


class Params(Settings):
    """What this step reads."""

    dataset: DatasetParams


class _Asked(Settings):
    """What an experiment asks of the pool; a step of the workflow is not given it."""

    budget: Budget
    cycles: Positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--registered", type=Path, help="images.json of `mgral register`: the ids and splits to use")
    given.add_argument("--redraw", action="store_true", help="disregard an earlier dataset.json at --out")
    _arguments.add_out(parser, "dataset.json to write; an earlier one there keeps its ids and splits")


def run(arguments: argparse.Namespace) -> None:
    params = _arguments.read_params(Params, arguments.params).dataset
    known: identity.Known | None = None
    if arguments.registered:
        known = identity.read_register(arguments.registered).known()
    earlier = identity.of_dataset(arguments.out, params.splits)  # refuses to replace a file of another kind
    if not arguments.registered and not arguments.redraw:
        known = earlier
    dataset, info = importing.import_dataset(params, known)
    new = [i.file_name for i in dataset.images.values() if known is not None and i.file_name not in known.ids]
    if arguments.registered and new:
        raise MgralError(
            f"{arguments.registered}: {len(new)} images of {dataset.root} are not registered, {new[0]} first; run "
            "`mgral register`"
        )
    if arguments.registered:
        dataset = identity.at_the_beginning(dataset, identity.read_register(arguments.registered))
        info["kept"] = len(dataset.images)
    dataset_json.write(dataset, info, arguments.out)
    if known is not None:
        what = "kept" if known.splits else "drawn again, since dataset.splits has changed"
        logging.info("%d images keep their ids, splits %s; %d new", len(dataset.images) - len(new), what, len(new))
    for line in importing.summary(dataset, info):
        logging.info("%s", line)
    if what := _shortage(arguments.params, len(dataset.ids("train"))):
        logging.info("warning: %s", what)


def _shortage(sources: Sequence[str], images: int) -> str:
    """Why the pool does not suffice for the experiment, if its parameters were given whole; empty otherwise."""
    if "-" in sources:
        return ""
    given, _ = loading.combine((source, loading.read_yaml(source)) for source in sources)
    if not {"budget", "cycles"} <= given.keys():
        return ""
    asked = _arguments.read_params(_Asked, sources)
    return shortage(images, asked.budget.initial, asked.budget.batch, asked.cycles)
