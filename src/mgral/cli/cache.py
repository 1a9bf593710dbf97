"""Decode and resize every image of a data set once."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.data import dataset_json


class Params(Settings):
    """What this step reads."""

    image_size: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    _arguments.add_out(parser, "images.npy to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.data import image_cache

    params = _arguments.read_params(Params, arguments.params)
    image_cache.build(dataset_json.read(arguments.dataset), params.image_size, arguments.out)
