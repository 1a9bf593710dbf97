"""Train proxies for some of a cycle's batches; one record each."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mgral.cli import _arguments
from mgral.params import DetectorParams, Evaluation, Machine, ProxyRun
from mgral.settings import Settings
from mgral.types import KINDS


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    proxy: ProxyRun
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector", "batches")
    _arguments.add_seed(parser)
    _arguments.add_kind(parser, *KINDS)
    parser.add_argument("--index", required=True, type=int, nargs="+", help="which batches, by position from 0")
    parser.add_argument(
        "--repeat", type=int, nargs="+", help="train the batch of --index again, with random numbers 1 …"
    )
    parser.add_argument(
        "--activations",
        type=Path,
        help="activations.npy of the detector, where the trunk is frozen; else made each time",
    )
    _arguments.add_out(parser, "folder for <index>.json, or <repeat>.json")


def run(arguments: argparse.Namespace) -> None:
    from mgral import compute, datasets, pools, records
    from mgral.errors import MgralError
    from mgral.files import read_json
    from mgral.images import Cache
    from mgral.training import proxy

    if arguments.repeat and (len(arguments.index) > 1 or min(arguments.repeat) < 1):
        raise MgralError("--repeat: trains one batch again, with random numbers 1, 2, …; name one --index")
    params = _arguments.read_params(Params, arguments.params)
    machine = compute.prepare(params.machine)
    dataset, pool = datasets.read(arguments.dataset), pools.read(arguments.pool)
    cache = Cache(dataset, arguments.images)
    batches, unlabelled = read_json(arguments.batches), set(pool.unlabelled)
    for index in arguments.index:
        if not 0 <= index < len(batches):
            raise MgralError(f"{arguments.batches}: holds {len(batches)} batches, --index asks for {index}")
        for i in batches[index]["ids"]:
            if i not in unlabelled:
                raise MgralError(
                    f"{arguments.batches}: image {i} of batch {index} is not unlabelled in {arguments.pool}; "
                    "give the pool that it was drawn from"
                )
    for name in arguments.repeat or arguments.index:
        index, repeat = (arguments.index[0], name) if arguments.repeat else (name, 0)
        record = proxy.run(
            batches[index]["ids"],
            batches[index]["generator"],
            dataset,
            cache,
            pool,
            arguments.detector,
            (params.detector, params.proxy, params.evaluation),
            machine,
            arguments.seed,
            arguments.kind,
            repeat,
            arguments.activations,
        )
        records.write(record, arguments.out / f"{name}.json")
        logging.info("batch %d (%s): mAP %.4f in %.1f s", index, record.generator, record.mAP, record.seconds)
