"""Compute once what a frozen trunk says of the images that the proxies of a cycle learn from and are judged by."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.params import DetectorParams, Machine
from mgral.settings import Settings


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector")
    _arguments.add_kind(parser)
    _arguments.add_out(parser, "activations.npy to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral import activations, detectors
    from mgral.cli import _cycle
    from mgral.training import proxy

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _cycle.open_files(arguments, params.machine)
    detector = detectors.restore(params.detector, dataset.classes, cache.size, arguments.detector)
    activations.write(detector, cache, proxy.shown(pool, arguments.kind, dataset.ids("val")), machine, arguments.out)
