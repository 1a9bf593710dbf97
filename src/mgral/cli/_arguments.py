"""Arguments that several verbs share, and how parameter files are read."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mgral.config import loading
from mgral.config.base import Settings
from mgral.config.schema import Params
from mgral.core.errors import MgralError

if TYPE_CHECKING:
    from mgral.config.schema import Machine
    from mgral.core.types import Dataset
    from mgral.data.image_cache import Cache
    from mgral.data.pool import Pool
    from mgral.detection.device import Device

S = TypeVar("S", bound=Settings)

BASE = "params/base.yaml"

_HELP = {
    "params": "parameter files (YAML or JSON), each overriding the one before; - reads standard input",
    "dataset": "dataset.json of the run",
    "images": "images.npy of the run: the decoded-image cache",
    "pool": "pool.json of the cycle",
    "detector": "detector.safetensors of the cycle",
    "embeddings": "embeddings.npz of the cycle",
    "detections": "detections.npz of the cycle",
    "batches": "batches.json of the cycle",
    "metrics": "metrics.json of the cycle",
    "selected": "selected.json of the cycle",
    "agent": "agent.safetensors of the cycle",
    "table": "folder of the lookup table",
    "run": "folder of the run: data/runs/<experiment>",
}


def add(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add required path arguments by name; of ``--params`` there may be several."""
    for name in names:
        several: dict[str, Any] = {"nargs": "+", "action": "extend"} if name == "params" else {"type": Path}
        parser.add_argument(f"--{name}", required=True, help=_HELP[name], **several)


def add_detections(parser: argparse.ArgumentParser) -> None:
    """Add ``--detections``, for a lookup table."""
    what = f"{_HELP['detections']}, for the representation objects"
    parser.add_argument("--detections", type=Path, help=what)


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--out``."""
    parser.add_argument("--out", required=True, type=Path, help=what)


def add_kind(parser: argparse.ArgumentParser) -> None:
    """Add ``--kind``, of proxies."""
    kinds = ("unlabelled", "replay")
    what = "how proxies learn from a batch: unlabelled, or replay: from held-out images with their labels; "
    parser.add_argument("--kind", default=kinds[0], choices=kinds, help=f"{what}default unlabelled")


def add_cycles(parser: argparse.ArgumentParser) -> None:
    """Add ``--cycles``, for a run that waits for people."""
    what = "cycles that the run has reached, where it waits for people; default: all of the parameters"
    parser.add_argument("--cycles", type=int, help=what)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
    parser.add_argument("--seed", required=True, type=_seed, help="seed of the experiment, 0 or more")


def add_polish(parser: argparse.ArgumentParser) -> None:
    """Add ``--polish``, ``--caution`` and ``--certainty``."""
    what = "search.polish: passes over the agent's batch; default 0"
    parser.add_argument("--polish", type=_passes, default=0, help=what)
    what = "search.caution: standard deviations that these subtract from a predicted gain; default 0"
    parser.add_argument("--caution", type=_caution, default=0.0, help=what)
    what = "search.certainty: probability from which another batch is chosen over the rule's; default 0"
    parser.add_argument("--certainty", type=_certainty, default=0.0, help=what)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no seed; give a whole number, 0 or more")
    return int(text)


def _passes(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of passes; give a whole number, 0 or more")
    return int(text)


def _caution(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of standard deviations; give a number, 0 or more")
    return value


def _certainty(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no probability; give a number from 0 to 1")
    return value


def computing(params: Sequence[str], options: str = "--cores all") -> str:
    """The command that runs the experiment of some ``--params``: Snakemake reads the base without being told."""
    own = [file for file in (os.path.relpath(file) for file in params if file != "-") if file != BASE]
    return " ".join(["snakemake", options, *([shlex.join(["--configfile", *own])] if own else [])])


def read_params(cls: type[S], sources: Sequence[str]) -> S:
    """What a step reads of its ``--params``. Raises MgralError."""
    return loading.sections(cls, *loading.combine(map(_read, sources)))


def read_experiment(sources: Sequence[str]) -> Params:
    """A whole experiment, from ``--params``. Raises MgralError."""
    return loading.check(*loading.combine(map(_read, sources)))


def open_files(arguments: argparse.Namespace, machine: Machine) -> tuple[Device, Dataset, Pool, Cache]:
    """The device, and what ``--dataset``, ``--pool`` and ``--images`` name. For verbs that read images.

    Raises:
        MgralError: a GPU is asked for and there is none; a file is missing, damaged or of another data set.
    """
    from mgral.data import dataset_json
    from mgral.data.image_cache import Cache
    from mgral.data.pool import read_pool
    from mgral.detection.device import prepare_device

    chosen = prepare_device(machine)
    dataset = dataset_json.read(arguments.dataset)
    return chosen, dataset, read_pool(arguments.pool, dataset), Cache(dataset, arguments.images, machine.decoders)


def _read(source: str) -> tuple[str, Any]:
    """Name and content of a parameter file."""
    if source != "-":
        return source, loading.read_yaml(source)
    try:
        if sys.stdin is None:
            raise MgralError("standard input: is closed; pipe a parameter file, or name one")
        text = sys.stdin.read()
    except UnicodeDecodeError:
        raise MgralError("standard input: not UTF-8 text; pipe a parameter file") from None
    return "standard input", loading.parse_yaml(text, "standard input")
