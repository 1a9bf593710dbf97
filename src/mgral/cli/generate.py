"""Make the generated data set: images, and COCO annotations with a split per image."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DatasetParams

FOLDERS = ("out",)  # outputs that are folders


class Params(Settings):
    """What this step reads."""

    dataset: DatasetParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    _arguments.add_out(parser, "folder for annotations.json and images/")


def run(arguments: argparse.Namespace) -> None:
    from mgral.data.formats import synthetic

    params = _arguments.read_params(Params, arguments.params).dataset
    synthetic.generate(arguments.out, synthetic.Options.parse(params.options, "dataset.options"))
