"""Train the first detector longer and longer: which training.steps suffice, and do labels help?"""

from __future__ import annotations

import argparse

from mgral.cli import _arguments
from mgral.cli.train import Params
from mgral.core.errors import MgralError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params", "dataset", "images", "pool")
    _arguments.add_seed(parser)
    _arguments.add_out(parser, "probe.json to write")


def run(arguments: argparse.Namespace) -> None:
    from mgral.core.files import write_json
    from mgral.detection.external import is_external
    from mgral.detection.trainers import Trainer, open_trainer
    from mgral.detection.training import TrainingConfig
    from mgral.planning import probe

    params = _arguments.read_params(Params, arguments.params)
    if is_external(params.detector.name):
        raise MgralError(
            f"detector: {params.detector.name} trains for as long as its own command says; the probe has nothing to try"
        )
    machine, dataset, pool, cache = _arguments.open_files(arguments, params.machine)

    def trainer(steps: int) -> Trainer:
        plan = TrainingConfig(**{**params.training.model_dump(), "steps": steps})
        return open_trainer(params.detector, dataset, cache, params.evaluation, machine, plan)

    limit = params.evaluation.max_detections
    trials = probe.run(trainer, dataset, pool, params.training.steps, limit, arguments.seed)
    write_json(arguments.out, probe.as_json(trials))
    for line in probe.findings(trials):
        print(line)
