"""Embed every image of the pool by a backbone that is no part of the detector, and find its local patterns."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.embedding import EmbeddingParams
from mgral.config.schema import Machine


class Params(Settings):
    """What this step reads."""

    embedding: EmbeddingParams
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images")
    parser.add_argument("--patterns", action="store_true", help="find local patterns too, for freesel")
    _arguments.add_out(parser, "foundation.npz to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.data import dataset_json
    from mgral.data.image_cache import Cache
    from mgral.detection import backbone_embedding, npz_files
    from mgral.detection.device import prepare_device

    params = _arguments.read_params(Params, arguments.params)
    device = prepare_device(params.machine)
    dataset = dataset_json.read(arguments.dataset)
    cache, ids = Cache(dataset, arguments.images), sorted(dataset.ids("train"))
    count = params.embedding.patterns if arguments.patterns else 0
    vectors, patterns = backbone_embedding.compute(params.embedding, "embedding", cache, ids, device, count)
    npz_files.write_foundation(ids, vectors, patterns, arguments.out)
