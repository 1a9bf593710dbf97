"""Draw a random part of the labelled pool, to train on: a point of the learning curve."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.core.errors import MgralError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "pool")
    parser.add_argument("--share", required=True, type=float, help="of the labelled images, above 0 and at most 1")
    parser.add_argument("--draw", type=int, default=0, help="another number draws another part; default 0")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "pool.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.data.pool import part, read_pool, write_pool

    if not 0 < arguments.share <= 1:
        raise MgralError(f"--share: {arguments.share} is no share; give a number above 0, at most 1")
    write_pool(part(read_pool(arguments.pool), arguments.share, arguments.seed, arguments.draw), arguments.out)
