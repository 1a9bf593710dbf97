"""Train proxies for some of a cycle's batches; one record each."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Evaluation, Machine, ProxyRun
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.core.types import Kind, Record

if TYPE_CHECKING:
    from mgral.data.pool import Pool

FOLDERS = ("out",)  # outputs that are folders


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    proxy: ProxyRun
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "batches")
    parser.add_argument("--detector", type=Path, help="detector.safetensors that proxies start from, if they do")
    _arguments.add_seed(parser)
    _arguments.add_kind(parser)
    parser.add_argument(
        "--split", type=_positive, default=1, help="kind replay: number of the replay split, for the records; default 1"
    )
    parser.add_argument(
        "--backbone-features",
        type=Path,
        help="backbone_features.npy of the detector, where the backbone is frozen; else made each time",
    )
    parser.add_argument(
        "--rivals",
        type=Path,
        nargs="*",
        default=[],
        help="records of random batches of this cycle, kind and split: with proxy.stop_at, a proxy of another batch "
        "that lies below all of them is stopped; without them none is",
    )
    parser.add_argument(
        "--batch",
        type=_number,
        nargs="+",
        default=[],
        metavar="K",
        help="batches to train a proxy for, counted from 0; each makes proxies/K.json",
    )
    parser.add_argument(
        "--control",
        type=_number,
        nargs="+",
        default=[],
        metavar="K",
        help="batches to train a proxy for with unsupervised weight zero (kind unlabelled); each makes control/K.json",
    )
    parser.add_argument(
        "--repeat",
        type=_positive,
        nargs="+",
        default=[],
        metavar="K",
        help="repetitions of the first batch's proxy with other random numbers, from 1; each makes repeats/K.json",
    )
    _arguments.add_out(parser, "folder for the records")


@dataclass(frozen=True)
class _Wanted:
    """A proxy to train: position of its batch, kind, number of the repetition, and the path of its record."""

    batch: int
    kind: Kind
    repeat: int
    path: Path


def run(arguments: argparse.Namespace) -> None:
    from mgral.reward import candidate_batches, proxy, records

    wanted = _wanted(arguments)
    params = _arguments.read_params(Params, arguments.params)
    if params.proxy.start == "detector" and arguments.detector is None:
        raise MgralError("--detector: proxy.start is detector; name the file that proxies start from")
    rivals = [_rival(path, arguments, params.proxy) for path in arguments.rivals]
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    for path, rival in zip(arguments.rivals, rivals, strict=True):
        if rival.cycle != pool.cycle:
            raise MgralError(f"--rivals: {path} is of cycle {rival.cycle}, not {pool.cycle}; leave it out")
    batches = candidate_batches.read(arguments.batches)
    _check_batches({one.batch for one in wanted}, batches, pool, arguments)
    sections = (params.detector, params.proxy, params.evaluation)
    proxies = proxy.ProxyTrainer(
        dataset, cache, pool, arguments.detector, sections, machine, arguments.seed, arguments.backbone_features
    )
    for one in wanted:
        ids, generator = batches[one.batch]["ids"], batches[one.batch]["generator"]
        races = (one.kind, one.repeat) == (arguments.kind, 0) and generator != "random"
        record = proxies.train(ids, generator, one.kind, one.repeat, rivals if races else ())
        record = replace(record, split=arguments.split)
        records.write(record, one.path)
        how = "stopped; expected mAP" if record.stopped else "mAP"
        logging.info("%s (%s): %s %.4f in %.1f s", one.path, record.generator, how, record.mAP, record.seconds)


def _wanted(arguments: argparse.Namespace) -> list[_Wanted]:
    """All proxies that the options ask for. Raises MgralError if there are none, or controls of another kind."""
    kind, out = arguments.kind, arguments.out
    if arguments.split > 1 and kind != "replay":
        raise MgralError(f"--split: {kind} proxies have no replay splits; leave it out")
    if arguments.control and kind != "unlabelled":
        raise MgralError(f"--control: a {kind} proxy has no unsupervised weight; leave it out")
    found = [_Wanted(k, kind, 0, out / run_layout.record(run_layout.PROXIES, k)) for k in arguments.batch]
    found += [_Wanted(k, "control", 0, out / run_layout.record(run_layout.CONTROL, k)) for k in arguments.control]
    found += [_Wanted(0, kind, k, out / run_layout.record(run_layout.REPEATS, k)) for k in arguments.repeat]
    if not found:
        raise MgralError("nothing to train; give --batch, --control or --repeat with numbers")
    return found


def _check_batches(
    indices: set[int], batches: Sequence[Mapping[str, Any]], pool: Pool, arguments: argparse.Namespace
) -> None:
    """Refuse a batch that is not there, or not of this pool. Raises MgralError."""
    unlabelled = set(pool.unlabelled)
    for index in sorted(indices):
        if index >= len(batches):
            raise MgralError(
                f"batch {index}: {arguments.batches} holds {len(batches)} batches, counted from 0; give a lower number"
            )
        for i in batches[index]["ids"]:
            if i not in unlabelled:
                raise MgralError(
                    f"{arguments.batches}: image {i} of batch {index} is not unlabelled in {arguments.pool}; "
                    "give the pool that it was drawn from"
                )


def _rival(path: Path, arguments: argparse.Namespace, params: ProxyRun) -> Record:
    """A record that others are raced against. Raises MgralError if it cannot be."""
    from mgral.reward import records

    found = records.read(path)
    kind, split = arguments.kind, arguments.split
    if (found.kind, found.generator, found.stopped) != (kind, "random", False):
        raise MgralError(f"--rivals: {path} is no {kind} record of a random batch; leave it out")
    if found.split != split:
        raise MgralError(f"--rivals: {path} is of replay split {found.split}, not {split}; leave it out")
    if params.stop_at and found.partway is None:
        raise MgralError(f"--rivals: {path} has no mAP from partway; run it again with proxy.stop_at")
    return found


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of a batch; give a whole number, 0 or more")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of a repetition; give a whole number, 1 or more")
    return int(text)
