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
from mgral.config.base import Settings
from mgral.config.schema import DatasetParams
from mgral.core.errors import MgralError
from mgral.data import dataset_json, fitness, identity, importing


class Params(Settings):
    """What this step reads."""

    dataset: DatasetParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--registered", type=Path, help="images.json of `mgral register`: the ids and splits to use")
    given.add_argument("--redraw", action="store_true", help="disregard an earlier dataset.json at --out")
    what = "parameters of the experiment: data that its run must fail on are refused, and doubts are said"
    parser.add_argument("--experiment", type=Path, help=what)
    _arguments.add_out(parser, "dataset.json to write; an earlier one there keeps its ids and splits")


def run(arguments: argparse.Namespace) -> None:
    params = _arguments.read_params(Params, arguments.params).dataset
    register = identity.read_register(arguments.registered) if arguments.registered else None
    known = register.known() if register else None
    earlier = identity.of_dataset(arguments.out, params.splits)  # refuses to replace a file of another kind
    if not register and not arguments.redraw:
        known = earlier
    dataset, info = importing.import_dataset(params, known)
    new = [i.file_name for i in dataset.images.values() if known is not None and i.file_name not in known.ids]
    if register and new:
        raise MgralError(
            f"{arguments.registered}: {len(new)} images of {dataset.root} are not registered, {new[0]} first; run "
            "`mgral register`"
        )
    if register:
        identity.require_content(register, dataset)
        there = {image.id for image in dataset.images.values()}
        if gone := [image.file_name for image in register.images if image.id not in there]:
            logging.warning("%d registered images are not there now, %s first; they are left out", len(gone), gone[0])
        dataset = identity.at_the_beginning(dataset, register)
        info["kept"] = len(dataset.images)
    asked = _asked(arguments.params, arguments.experiment)
    if arguments.experiment and asked and (what := fitness.unfit(dataset, asked)):
        raise MgralError(f"{params.root}: {what}")
    dataset_json.write(dataset, info, arguments.out)
    if known is not None:
        what = "kept" if known.splits else "drawn again, since dataset.splits has changed"
        logging.info("%d images keep their ids, splits %s; %d new", len(dataset.images) - len(new), what, len(new))
    for line in importing.summary(dataset, info):
        logging.info("%s", line)
    for line in fitness.doubts(dataset, asked) if asked else ():
        logging.info("warning: %s", line)


def _asked(sources: Sequence[str], experiment: Path | None) -> fitness.Params | None:
    """What the experiment asks of its data, if its parameters were given; ``sources`` may be all of them."""
    if experiment is not None:
        return _arguments.read_params(fitness.Params, [str(experiment)])
    if "-" in sources:
        return None
    given, _ = loading.combine((source, loading.read_yaml(source)) for source in sources)
    return _arguments.read_params(fitness.Params, sources) if {"budget", "cycles"} <= given.keys() else None
