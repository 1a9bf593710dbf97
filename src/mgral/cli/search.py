"""Train the agent of a cycle against its lookup table."""

from __future__ import annotations

import argparse
import functools

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import Agent, Batch, DetectorParams, Evaluation, Machine, ProxyKind, ProxyRun, Search, Table
from mgral.core.run_layout import CYCLE, INDEX, PRICE, RECORDS
from mgral.detection.checkpoint import kept_checkpoint


class Fallback(ProxyRun, ProxyKind):
    """How a proxy of the fallback is trained, and whether the table holds its like."""


FOLDERS = ("out",)  # outputs that are folders


class Params(Settings):
    """What this step reads: its own groups, and those of a proxy for the fallback."""

    agent: Agent
    search: Search
    table: Table
    budget: Batch
    detector: DetectorParams
    proxy: Fallback
    evaluation: Evaluation
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector", "embeddings", "table")
    _arguments.add_detections(parser)
    parser.add_argument(
        "--no-fallback",
        action="store_true",
        help="train no proxy: a far batch keeps its extrapolated gain",
    )
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "folder for agent.safetensors, search.csv and added.json")


def run(arguments: argparse.Namespace) -> None:
    from mgral.agent import reinforce
    from mgral.agent.policy import Policy, Seen
    from mgral.core import random_streams
    from mgral.core.files import write_json
    from mgral.reward import batch_price, proxy, records
    from mgral.reward.growth import Worlds
    from mgral.reward.lookup_table import LookupTable
    from mgral.strategies import _evidence_files

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    # they may be gigabytes, and one representation alone counts them
    detections = arguments.detections if params.table.representation == "objects" else None
    embeddings = _evidence_files.read_embeddings(arguments.embeddings, detections)
    seed = random_streams.stream(arguments.seed, "agent", pool.cycle)
    agent = arguments.out / CYCLE.agent
    inputs = [arguments.dataset, arguments.pool, arguments.detector, arguments.embeddings]
    inputs += [detections] if detections else []
    inputs += [arguments.table / name for name in (RECORDS, INDEX)]
    worlds: Worlds | None = None
    state: Seen = embeddings
    if params.table.representation == "growth":
        inputs.append(arguments.table / PRICE)
        price = batch_price.read(inputs[-1], embeddings)
        worlds, state = Worlds(price.world), price.agent_state(embeddings)
    plugins = [f"mgral.detection.detectors.{params.detector.name}", f"mgral.reward.semi.{params.proxy.semi}"]
    if arguments.no_fallback or params.proxy.kind == "replay":
        # A batch of the pool has no labels: where the table holds replay records only, nothing compares to its proxy.
        params = params.model_copy(update={"search": params.search.model_copy(update={"fallback": 0})})
    sections = (params.detector, params.proxy, params.evaluation)
    proxies = proxy.ProxyTrainer(dataset, cache, pool, arguments.detector, sections, machine, arguments.seed)
    with kept_checkpoint(agent, params, arguments.seed, inputs, [__name__, *plugins], [arguments.images]) as checkpoint:
        result = reinforce.run(
            Policy.of(params.agent, state.width, seed),
            state,
            pool.unlabelled,
            LookupTable.load(arguments.table, embeddings, params.table, machine.torch_device.type == "cuda", worlds),
            params.budget.batch,
            params.search,
            seed,
            functools.partial(proxies.train, generator="search"),
            checkpoint,
            params.agent.train_on,
        )
        result.policy.save(agent)
        reinforce.write_rows(result.rows, arguments.out / CYCLE.search)
        write_json(arguments.out / CYCLE.added, [records.as_json(record) for record in result.added])
