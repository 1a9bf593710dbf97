"""Decode and resize every image of a data set once, or only say how they are resized (cache: none)."""

from __future__ import annotations

import argparse
from typing import Literal

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.data import dataset_json


class Params(Settings):
    """What this step reads."""

    image_size: int
    resize: Literal["squash", "letterbox", "shortest_edge"] = "squash"
    longest_edge: int = 1333
    cache: Literal["decoded", "none"] = "decoded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset")
    _arguments.add_out(parser, "images.npy to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.data import image_cache
    from mgral.data.resizing import Resizing

    params = _arguments.read_params(Params, arguments.params)
    resizing = Resizing.of(params.resize, params.image_size, params.longest_edge)
    image_cache.build(dataset_json.read(arguments.dataset), resizing, arguments.out, params.cache == "decoded")
