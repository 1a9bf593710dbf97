"""Make the labels of a cycle from what people returned: labels.json, and the data set of the next cycle.

With --closed, it reads closed.json and the files that this names, and no parameter: a batch is closed once, with the
rules of that day. With --simulated, people are simulated: they answer from a data set, through the files of the tool.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from mgral.annotation import exchange, labels, returns, simulated
from mgral.annotation.exchange import Batch
from mgral.annotation.labels import Outcome
from mgral.annotation.returns import Folder
from mgral.cli import _arguments
from mgral.config.annotation import Annotation, Oracle
from mgral.config.base import Settings
from mgral.core import plugins
from mgral.core.files import read_json
from mgral.core.types import Dataset
from mgral.data import dataset_json

OUTPUTS = ("out_dataset",)  # options that name what is written, beside --out


class Params(Settings):
    """What this step reads, for simulated people."""

    oracle: Oracle
    annotation: Annotation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "dataset")
    answers = parser.add_mutually_exclusive_group(required=True)
    answers.add_argument("--closed", type=Path, help="closed.json: the files that people returned and that count")
    answers.add_argument(
        "--simulated", type=Path, metavar="MANIFEST", help="manifest.json that simulated people answer"
    )
    parser.add_argument("--params", nargs="+", action="extend", default=[], help="for --simulated: parameter files")
    parser.add_argument("--truth", type=Path, help="dataset.json that simulated people answer from; default --dataset")
    parser.add_argument("--seed", type=int, default=0, help="of simulated people; default 0")
    parser.add_argument("--out-dataset", required=True, type=Path, help="dataset.json of the next cycle")
    _arguments.add_out(parser, "labels.json to write")


def run(arguments: argparse.Namespace) -> None:
    dataset = dataset_json.read(arguments.dataset)
    if arguments.simulated:
        params = _arguments.read_params(Params, arguments.params)
        batch, classes, added = exchange.read_batch(arguments.simulated), list(dataset.classes), []
        truth = dataset_json.read(arguments.truth) if arguments.truth else dataset
        outcome = _simulated(batch, truth, params, arguments.seed)
    else:
        folder = Folder(arguments.closed.parent)
        closed, batch = folder.closed_batch()
        classes, rules, added = closed.classes, closed.annotation, closed.added_images()
        files = folder.read_all(closed.files, batch, rules.tool, rules.options)
        outcome = labels.settle(batch, closed.extra_images(), files, classes, rules.map, rules)
    after = labels.apply(dataset, outcome, classes, added)
    new = classes[len(dataset.classes) :]
    if new:
        logging.warning("new classes %s: images labelled before show them without boxes", ", ".join(new))
    dataset_json.write(after, read_json(arguments.dataset)["info"], arguments.out_dataset)
    labels.write(batch, outcome, arguments.out, added)
    if added:
        logging.info("%d images join the pool, %s first", len(added), added[0].file_name)
    boxes = sum(len(image.boxes) for image in outcome.images.values())
    logging.info("batch %s: %d images labelled, %d boxes", batch.id, len(outcome.ids("finished")), boxes)


def _simulated(batch: Batch, truth: Dataset, params: Params, seed: int) -> Outcome:
    """What simulated people say of a batch, one file of the tool each."""
    annotation, people = params.annotation, params.annotation.annotators
    plugin = plugins.load("annotators", annotation.tool)
    said = simulated.answers(batch, truth.boxes, people, params.oracle, seed)
    files = []
    for person in range(people):
        with tempfile.TemporaryDirectory() as folder:
            plugin.respond(batch, {i: [answers[person]] for i, answers in said.items()}, Path(folder))
            found = exchange.sources(folder)
            returned = returns.read(annotation.tool, found, batch, annotation.options)
        files.append((f"person {person + 1}", returned))
    return labels.settle(batch, [], files, truth.classes, annotation.map, annotation)
