"""Write a selected batch for an annotation tool: manifest.json, and the tool's own files beside it."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from pydantic import Field

from mgral.cli import _arguments
from mgral.config.annotation import Account, Shown
from mgral.config.base import Settings
from mgral.config.schema import Name


class Params(Settings):
    """What this step reads."""

    experiment: Name
    budget: Account = Field(default_factory=Account)
    annotation: Shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "selected")
    parser.add_argument("--detections", type=Path, help="detections.npz of the cycle: predicted boxes to show")
    parser.add_argument("--pool", type=Path, help="pool.json of the cycle, for a budget in boxes or minutes")
    what = "labels.json of each earlier batch, for a budget in boxes or minutes"
    parser.add_argument("--past", type=Path, nargs="+", default=[], help=what)
    _arguments.add_out(parser, "manifest.json to write; the tool's files come into the same folder")


def run(arguments: argparse.Namespace) -> None:
    from mgral.annotation import asking, budget, exchange
    from mgral.core import plugins
    from mgral.core.errors import MgralError
    from mgral.data import dataset_json
    from mgral.data.pool import read_pool
    from mgral.data.selection import read_selection
    from mgral.detection import detections_file

    params = _arguments.read_params(Params, arguments.params)
    tool = plugins.load("annotators", params.annotation.tool)
    options = tool.Options.parse(params.annotation.options, "annotation.options")
    dataset, selection = dataset_json.read(arguments.dataset), read_selection(arguments.selected)
    detections = detections_file.read(arguments.detections)[0] if arguments.detections else None
    batch = asking.make_batch(dataset, selection, detections, params.experiment, params.annotation)
    if params.budget.amount is not None:
        if arguments.pool is None or detections is None:
            raise MgralError("--pool and --detections: missing; a budget in boxes or minutes needs both")
        past = [budget.read_past(path) for path in arguments.past]
        pool, least = read_pool(arguments.pool, dataset), params.annotation.predictions
        batch = budget.plan(batch, params.budget, dataset, pool, detections, least, past)
    files = tool.export(batch, arguments.out.parent, options)
    exchange.write_batch(batch, arguments.out)
    shown = sum(len(image.predictions) for image in batch.images)
    logging.info(
        "batch %s: %d images with %d predicted boxes, %d files for %s in %s",
        batch.id,
        len(batch.images),
        shown,
        len(files),
        params.annotation.tool,
        arguments.out.parent,
    )
