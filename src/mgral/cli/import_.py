"""Bring a data set into canonical form, checking every image and box."""

from __future__ import annotations

import argparse
import logging

from mgral import datasets
from mgral.cli import _arguments
from mgral.params import DatasetParams
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    dataset: DatasetParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    _arguments.add_out(parser, "dataset.json to write")


def run(arguments: argparse.Namespace) -> None:
    dataset, info = datasets.import_dataset(_arguments.read_params(Params, arguments.params).dataset)
    datasets.write(dataset, info, arguments.out)
    logging.info(
        "%d images, %d boxes of %d classes; dropped: %d, clipped: %d",
        len(dataset.images),
        sum(map(len, dataset.boxes.values())),
        len(dataset.classes),
        len(info["dropped"]),
        info["clipped"],
    )
