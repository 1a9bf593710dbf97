"""Draw the batches whose proxies fill the lookup table."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.params import Batch, Generators
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    proxy: Generators
    budget: Batch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "pool", "embeddings", "detections")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "batches.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral import datasets, generators
    from mgral.cli import _evidence
    from mgral.files import write_json

    params = _arguments.read_params(Params, arguments.params)
    dataset = datasets.read(arguments.dataset)
    evidence = _evidence.read(dataset, arguments.pool, arguments.embeddings, arguments.detections)
    proxy = params.proxy
    shares: dict[str, float] = {str(kind): share for kind, share in proxy.generators.items()}
    batches = generators.draw(proxy.records, params.budget.batch, shares, evidence, arguments.seed)
    write_json(arguments.out, batches)
