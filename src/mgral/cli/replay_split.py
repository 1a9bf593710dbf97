"""Hold out part of the labelled pool, for proxies that see a batch with its labels (replay)."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import HoldOut
from mgral.data import dataset_json


class Params(Settings):
    """What this step reads."""

    proxy: HoldOut


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "pool")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "pool.json of replay to write: the images held out count as unlabelled")


def run(arguments: argparse.Namespace) -> None:
    from mgral.data.pool import hold_out, read_pool, write_pool

    params = _arguments.read_params(Params, arguments.params)
    dataset = dataset_json.read(arguments.dataset)
    pool = read_pool(arguments.pool, dataset)
    classes = {i: set(dataset.boxes[i].labels.tolist()) for i in pool.labelled}
    write_pool(hold_out(pool, classes, params.proxy.holdout, arguments.seed), arguments.out)
