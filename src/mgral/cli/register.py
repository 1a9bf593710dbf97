"""Give the images of an experiment ids and splits that never change, for people to annotate.

Writes images.json: id, sha256, file name, size, split and the cycle from which each image can be selected. Run it
again after adding images: it only appends, and after the run has begun, new images join the pool of the next cycle.
A file that was renamed keeps its id, by its content.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mgral.annotation.returns import Folder
from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DatasetParams, Name
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.core.files import locked, make_folder, read_json
from mgral.data import dataset_json, identity, importing


class Params(Settings):
    """What this step reads."""

    experiment: Name
    dataset: DatasetParams


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    what = "from which new images can be selected; default: 0, after the run has begun the one after the open batch"
    parser.add_argument("--cycle", type=int, help=what)
    what = "images.json to write or extend; default data/annotations/<experiment>/images.json"
    parser.add_argument("--out", type=Path, help=what)


def run(arguments: argparse.Namespace) -> None:
    params = _arguments.read_params(Params, arguments.params)
    out = arguments.out or Path(run_layout.register(run_layout.annotations_folder(params.experiment)))
    while not _registered(params, out, arguments.cycle):
        logging.info("%s: another `mgral register` has written it meanwhile; once more", out)
    print(f"next: {_arguments.computing(arguments.params)}")


def _registered(params: Params, out: Path, cycle: int | None) -> bool:
    """Register what is there; False if the register has changed meanwhile, so that nothing was written."""
    before = identity.read_register(out, params.experiment) if out.exists() else None
    run_folder = Path(run_layout.run_folder(params.experiment))
    first = _first_cycle(out.parent, run_folder) if before else 0
    since = first if cycle is None else cycle
    if since < first or since < 0:
        raise MgralError(f"--cycle: {since} is computed already or no cycle; give {first} or more")
    if before and first:
        _require_run(before, run_folder, out)
    register, info, gone = importing.register(params.dataset, params.experiment, before, since)
    new = len(register.images) - (len(before.images) if before else 0)
    if new and first and (run_folder / run_layout.RUN.foundation).exists():
        raise MgralError(
            f"{out}: {new} images are new, and this run embedded its images by a backbone when it began; take them "
            "out of the folder, or begin another experiment with them"
        )
    if register != before:
        make_folder(out)
        with locked(out.parent):
            if (identity.read_register(out, params.experiment) if out.exists() else None) != before:
                return False
            identity.write_register(register, out)
    when = f", for the pool of cycle {since}" if new and since else ""
    logging.info("%s: %d images, %d of them new%s", out, len(register.images), new, when)
    _tell(register, info, gone)
    return True


def _tell(register: identity.Register, info: Mapping[str, Any], gone: Sequence[str]) -> None:
    """Say what is annotated, and what is not there."""
    labelled = info["labelled"]
    parts = ", ".join(f"{labelled[split]} in {split}" for split in ("train", "val", "test"))
    logging.info("annotated: %s; not annotated: %d", parts, len(register.images) - len(gone) - labelled.total())
    for line in importing.doubtful(info):
        logging.info("%s", line)
    if gone:
        logging.warning("%d registered images are not there now, %s first; they keep their ids", len(gone), gone[0])
    if info["dropped"]:
        logging.warning("%d faults were left out; they are listed by `mgral import`", len(info["dropped"]))


def _require_run(register: identity.Register, run_folder: Path, out: Path) -> None:
    """Refuse a register that has lost images of its run. Raises MgralError."""
    path = run_folder / run_layout.RUN.dataset
    if path.exists() and "kept" in read_json(path).get("info", {}):  # imported with the register
        identity.require_run(register, dataset_json.read(path), out)


def _first_cycle(annotations: Path, run_folder: Path) -> int:
    """The first cycle whose pool is not drawn: 0 before the run has begun, then the one after the open batch."""
    folders = [Folder(path) for path in annotations.glob("cycle-*")]
    if not (run_folder / run_layout.RUN.dataset).exists() and not any(folder.manifest.exists() for folder in folders):
        return 0
    return 1 + sum(folder.closed.exists() for folder in folders)
