"""Train proxies for some of a cycle's batches; one record each."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Evaluation, Machine, ProxyRun
from mgral.core.errors import MgralError
from mgral.core.types import Kind, Record


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
        "--backbone-features",
        type=Path,
        help="backbone_features.npy of the detector, where the backbone is frozen; else made each time",
    )
    parser.add_argument(
        "--rivals",
        type=Path,
        nargs="*",
        default=[],
        help="records of random batches of this cycle and kind: with proxy.stop_at, a proxy of another batch that lies "
        "below all of them is stopped; without them none is",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        nargs="+",
        help="records to make; their paths tell which: FOLDER/proxies/K.json is the K-th batch's, from 0; "
        "FOLDER/control/K.json the same with unsupervised weight zero; "
        "FOLDER/repeats/K.json the first batch's with other random numbers, K from 1",
    )


def run(arguments: argparse.Namespace) -> None:
    from mgral.reward import candidate_batches, proxy, records

    wanted = [_wanted(path, arguments.kind) for path in arguments.out]
    params = _arguments.read_params(Params, arguments.params)
    if params.proxy.start == "detector" and arguments.detector is None:
        raise MgralError("--detector: proxy.start is detector; name the file that proxies start from")
    rivals = [_rival(path, arguments.kind, params.proxy) for path in arguments.rivals]
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    for path, rival in zip(arguments.rivals, rivals, strict=True):
        if rival.cycle != pool.cycle:
            raise MgralError(f"--rivals: {path} is of cycle {rival.cycle}, not {pool.cycle}; leave it out")
    batches, unlabelled = candidate_batches.read(arguments.batches), set(pool.unlabelled)
    for path, (index, _, _) in zip(arguments.out, wanted, strict=True):
        if index >= len(batches):
            raise MgralError(f"--out: {path}: {arguments.batches} holds {len(batches)} batches, counted from 0")
        for i in batches[index]["ids"]:
            if i not in unlabelled:
                raise MgralError(
                    f"{arguments.batches}: image {i} of batch {index} is not unlabelled in {arguments.pool}; "
                    "give the pool that it was drawn from"
                )
    sections = (params.detector, params.proxy, params.evaluation)
    proxies = proxy.ProxyTrainer(
        dataset, cache, pool, arguments.detector, sections, machine, arguments.seed, arguments.backbone_features
    )
    for path, (index, kind, repeat) in zip(arguments.out, wanted, strict=True):
        ids, generator = batches[index]["ids"], batches[index]["generator"]
        races = path.parent.name == "proxies" and generator != "random"
        record = proxies.train(ids, generator, kind, repeat, rivals if races else ())
        records.write(record, path)
        how = "stopped; expected mAP" if record.stopped else "mAP"
        logging.info("%s (%s): %s %.4f in %.1f s", path, record.generator, how, record.mAP, record.seconds)


def _rival(path: Path, kind: Kind, params: ProxyRun) -> Record:
    """A record that others are raced against. Raises MgralError if it cannot be."""
    from mgral.reward import records

    found = records.read(path)
    if (found.kind, found.generator, found.stopped) != (kind, "random", False):
        raise MgralError(f"--rivals: {path} is no {kind} record of a random batch; leave it out")
    if params.stop_at and found.partway is None:
        raise MgralError(f"--rivals: {path} has no mAP from partway; run it again with proxy.stop_at")
    return found


def _wanted(path: Path, kind: Kind) -> tuple[int, Kind, int]:
    """Position of the batch, kind of the proxy and number of the repetition, from the path of its record."""
    part, number = path.parent.name, path.stem
    if path.suffix == ".json" and number.isdecimal():
        if part == "proxies":
            return int(number), kind, 0
        if part == "control" and kind == "unlabelled":
            return int(number), "control", 0
        if part == "repeats" and int(number) > 0:
            return 0, kind, int(number)
    raise MgralError(
        f"--out: {path} names no record of kind {kind}; one lies in proxies/, control/ (unlabelled only) or repeats/, "
        "as <number>.json, for repeats from 1"
    )
