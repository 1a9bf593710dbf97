"""Draw the batches whose proxies fill the lookup table."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Batch, Generators
from mgral.data import dataset_json


class Params(Settings):
    """What this step reads."""

    proxy: Generators
    budget: Batch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "pool", "embeddings", "detections")
    _arguments.add_kind(parser)
    parser.add_argument("--agent", type=Path, help="agent.safetensors that draws the second round; without: the first")
    parser.add_argument("--temperature", type=_positive, default=1.0, help="search.temperature of its search")
    parser.add_argument("--first", type=Path, help="batches.json of the first round, none of which is drawn again")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "batches.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import random_streams
    from mgral.core.files import write_json
    from mgral.data.pool import replay_batch
    from mgral.reward import candidate_batches
    from mgral.strategies import _evidence_files

    params = _arguments.read_params(Params, arguments.params)
    dataset = dataset_json.read(arguments.dataset)
    files = (arguments.pool, arguments.embeddings, arguments.detections, arguments.agent)
    evidence = _evidence_files.read(dataset, *files, needs=frozenset({"labels"}))
    first, second = params.proxy.rounds(arguments.kind)
    batch, seed = params.budget.batch, arguments.seed
    if arguments.kind == "replay":
        batch = replay_batch(batch, len(evidence.pool.unlabelled))
        evidence = _evidence_files.with_quality(evidence, dataset)
        seed = random_streams.stream(seed, "replay")
    if arguments.agent is None:
        batches = candidate_batches.draw(first, batch, params.proxy.first_shares, evidence, seed)
    else:
        others = candidate_batches.read(arguments.first) if arguments.first else []
        from mgral.agent.second_round import draw_by_agent

        batches = draw_by_agent(second, batch, arguments.temperature, evidence, seed, others)
    write_json(arguments.out, batches)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no temperature; give a number above 0")
    return value
