"""Bring a data set into canonical form, checking every image and box."""

from __future__ import annotations

import argparse
import logging

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DatasetParams
from mgral.data import dataset_json, importing


class Params(Settings):
    """What this step reads."""

    dataset: DatasetParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    _arguments.add_out(parser, "dataset.json to write")


def run(arguments: argparse.Namespace) -> None:
    dataset, info = importing.import_dataset(_arguments.read_params(Params, arguments.params).dataset)
    dataset_json.write(dataset, info, arguments.out)
    logging.info(
        "%d images, %d boxes of %d classes; dropped: %d, clipped: %d",
        len(dataset.images),
        sum(map(len, dataset.boxes.values())),
        len(dataset.classes),
        len(info["dropped"]),
        info["clipped"],
    )
