"""Select the next batch by a strategy."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Batch, Machine, Strategy
from mgral.core.errors import MgralError
from mgral.data import dataset_json


class Params(Settings):
    """What this step reads."""

    strategies: list[Strategy]
    budget: Batch
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "pool")
    parser.add_argument("--strategy", required=True, help="label of the strategy in the parameters")
    parser.add_argument("--embeddings", type=Path, help="embeddings.npz, if the strategy looks at them")
    parser.add_argument("--detections", type=Path, help="detections.npz, if the strategy looks at them")
    parser.add_argument("--agent", type=Path, help="agent.safetensors, if the strategy has an agent")
    parser.add_argument("--image-scores", type=Path, help="image_scores.npz, if the strategy makes them")
    parser.add_argument("--competence", type=Path, help="metrics.json of the cycle, if the strategy uses AP by class")
    what = "detections.npz of each replay split, if the strategy uses held-out images"
    parser.add_argument("--held-out", type=Path, nargs="+", help=what)
    parser.add_argument("--patterns", type=Path, help="foundation.npz, if the strategy uses local patterns")
    parser.add_argument("--price", type=Path, help="table/price.npz, if an agent was trained with the signals in it")
    _arguments.add_polish(parser)
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "selected.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import random_streams
    from mgral.data.selection import Selection, write_selection
    from mgral.strategies import _contract, _evidence_files
    from mgral.strategies._contract import IN_FILES

    params = _arguments.read_params(Params, arguments.params)
    strategy, plugin, options = _contract.find(params.strategies, arguments.strategy)
    for need in sorted(plugin.NEEDS & IN_FILES):
        if getattr(arguments, need) is None:
            option = need.replace("_", "-")
            raise MgralError(f"--{option}: missing; strategy {strategy.plugin} needs it")
    if "agent" in plugin.NEEDS:
        from mgral.detection.device import prepare_device

        prepare_device(params.machine)
    dataset = dataset_json.read(arguments.dataset)
    files = {need: getattr(arguments, need) for need in sorted(IN_FILES)}
    price = {name: getattr(arguments, name) for name in ("price", "polish", "caution", "certainty")}
    evidence = _evidence_files.read(dataset, arguments.pool, **files, **price, needs=plugin.NEEDS)
    cycle, budget, left = evidence.pool.cycle, params.budget.batch, len(evidence.pool.unlabelled)
    if not left:
        raise MgralError(
            f"{arguments.pool}: pool exhausted: no unlabelled image is left in cycle {cycle}; lower cycles, "
            "budget.initial or budget.batch"
        )
    if left < budget:
        logging.warning("pool exhausted: cycle %d takes the %d images that are left, not %d", cycle, left, budget)
    picks = plugin.select(evidence, budget, random_streams.stream(arguments.seed, "select", cycle), options)
    selection = Selection(strategy.name, strategy.plugin, arguments.seed, cycle, budget, picks)
    write_selection(selection, dataset, arguments.out)
