"""Precompute features of the frozen backbone for all proxies of a cycle: training and evaluation images."""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.config.base import Settings
from mgral.config.schema import DetectorParams, Machine


class Params(Settings):
    """What this step reads."""

    detector: DetectorParams
    machine: Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool", "detector")
    _arguments.add_kind(parser)
    _arguments.add_out(parser, "backbone_features.npy to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.detection import feature_cache
    from mgral.detection.base import restore_detector
    from mgral.reward import proxy

    params = _arguments.read_params(Params, arguments.params)
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)
    detector = restore_detector(params.detector, dataset.classes, cache.size, arguments.detector)
    feature_cache.write(detector, cache, proxy.shown(pool, arguments.kind, dataset.ids("val")), machine, arguments.out)
