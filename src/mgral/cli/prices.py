"""Compare the predicted gains of an agent's batch, of the batches of other strategies and of random ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mgral.cli import _arguments
from mgral.cli.select import Params
from mgral.core.types import Pick


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "pool", "embeddings", "detections", "agent")
    parser.add_argument("--strategy", required=True, help="label of the strategy whose agent it is")
    parser.add_argument("--price", required=True, type=Path, help="table/price.npz of the cycle")
    parser.add_argument("--competence", required=True, type=Path, help="metrics.json of the cycle")
    what = "detections.npz of each replay split, for strategies that use held-out images"
    parser.add_argument("--held-out", type=Path, nargs="+", help=what)
    _arguments.add_polish(parser)
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "prices.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core import random_streams
    from mgral.core.files import write_json
    from mgral.data import dataset_json
    from mgral.detection import npz_files
    from mgral.detection.device import prepare_device
    from mgral.reward import batch_price, exchanges, price_list, safe_choice
    from mgral.strategies import _contract, _evidence_files

    params = _arguments.read_params(Params, arguments.params)
    prepare_device(params.machine)
    files = {name: getattr(arguments, name) for name in ("embeddings", "detections", "agent", "competence", "held_out")}
    more = {"price": arguments.price, "needs": frozenset({"labels"})}
    evidence = _evidence_files.read(dataset_json.read(arguments.dataset), arguments.pool, **files, **more)
    seed = random_streams.stream(arguments.seed, "select", evidence.pool.cycle)
    given = {"detections", "embeddings", "labels", "competence"} | ({"held_out"} if arguments.held_out else set())
    price = batch_price.read(arguments.price, npz_files.read_embeddings(arguments.embeddings))
    batches: dict[str, list[int]] = {}
    for label in dict.fromkeys([arguments.strategy, *(strategy.name for strategy in params.strategies)]):
        strategy, plugin, options = _contract.find(params.strategies, label)
        if label == arguments.strategy:
            agent = ids(plugin.select(evidence, params.budget.batch, seed, options))
            polished = exchanges.polish(price, agent, arguments.polish, arguments.caution)
            choice = safe_choice.choose(price, polished, arguments.certainty, arguments.polish)
            batches[f"{label}, agent"], batches[f"{label}, polished"] = agent, polished
            if choice.of_rule:
                batches[f"{label}, rule"] = choice.of_rule
            if not choice.rule and choice.ids != polished:
                batches[f"{label}, certain"] = choice.ids
        elif given >= plugin.NEEDS and "features" not in _contract.kept_for(strategy):
            batches[label] = ids(plugin.select(evidence, params.budget.batch, seed, options))
    chosen = {"rule": choice.rule, "certainty": choice.certainty, "least": arguments.certainty}
    write_json(arguments.out, {**price_list.compare(price, batches, seed), "chosen": chosen})


def ids(picks: Sequence[Pick]) -> list[int]:
    return [pick.id for pick in picks]
