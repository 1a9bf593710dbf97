"""Give the images of an experiment ids and splits that never change, for people to annotate.

Writes images.json: id, sha256, file name, size, split and the cycle from which each image can be selected. Run it
again after adding images: it only appends. A file that was renamed keeps its id, by its content.

example: mgral register --params params/base.yaml params/mine.yaml
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DatasetParams, Name
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.data import identity, importing


class Params(Settings):
    """What this step reads."""

    experiment: Name
    dataset: DatasetParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    parser.add_argument("--cycle", type=int, default=0, help="from which the new images can be selected; default 0")
    what = "images.json to write or extend; default data/annotations/<experiment>/images.json"
    parser.add_argument("--out", type=Path, help=what)


def run(arguments: argparse.Namespace) -> None:
    params = _arguments.read_params(Params, arguments.params)
    if arguments.cycle < 0:
        raise MgralError(f"--cycle: {arguments.cycle} is no cycle; give 0 or more")
    out = arguments.out or Path(run_layout.register(run_layout.annotations_folder(params.experiment)))
    before = identity.read_register(out, params.experiment) if out.exists() else None
    register, info, gone = importing.register(params.dataset, params.experiment, before, arguments.cycle)
    new = len(register.images) - (len(before.images) if before else 0)
    if before is None or register != before:
        identity.write_register(register, out)
    logging.info("%s: %d images, %d of them new", out, len(register.images), new)
    if gone:
        logging.warning("%d registered images are not there now, %s first; they keep their ids", len(gone), gone[0])
    if info["dropped"]:
        logging.warning("%d faults were left out; they are listed by `mgral import`", len(info["dropped"]))
