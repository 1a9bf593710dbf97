"""Check the parameters of an experiment; with --data also whether its data set is fit for it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mgral.cli import _arguments
from mgral.config import loading
from mgral.config.schema import Params
from mgral.core import plugins, run_layout
from mgral.core.errors import MgralError

if TYPE_CHECKING:
    from mgral.core.types import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments.add(parser, "params")
    parser.add_argument("--dataset", type=Path, help="dataset.json: check that its pool suffices for all cycles too")
    parser.add_argument(
        "--data",
        action="store_true",
        help="refuse what a run must fail on; warn of boxes too small for the detector, classes without boxes, too few "
        "steps, too large a budget; "
        "reads --dataset, or the data set itself without one",
    )


def run(arguments: argparse.Namespace) -> None:
    checked = _arguments.read_experiment(arguments.params)
    if arguments.dataset:
        _check_pool(checked, arguments.dataset)
    if arguments.data:
        for line in _found(checked, arguments.dataset):
            print(line)
    strategies = ", ".join(strategy.name for strategy in checked.strategies)
    seeds, initial = len(checked.seeds), checked.budget.initial
    print(
        f"{checked.experiment}: {checked.cycles} cycles of {strategies} with {seeds} seed{'s' if seeds > 1 else ''}, "
        f"{'all annotated' if initial == 'all' else initial} images first, then {checked.budget.batch} a cycle"
    )
    if "-" not in arguments.params:
        print(f"next: {_next(checked, arguments)}")


def _next(params: Params, arguments: argparse.Namespace) -> str:
    """The command that follows a check."""
    if params.dataset.format != "synthetic" and not (arguments.data or arguments.dataset):
        return f"mgral check --params {shlex.join(arguments.params)} --data"
    registered = Path(run_layout.register(run_layout.annotations_folder(params.experiment)))
    if params.oracle.kind == "people" and not registered.exists():
        return f"mgral register --params {shlex.join(arguments.params)}"
    return _arguments.computing(arguments.params)


def _found(params: Params, path: Path | None) -> list[str]:
    """What there is to say of the data set, a line each; of a generated one also where it lies.

    Raises:
        MgralError: a fault in the data.
    """
    from mgral.data import dataset_json, importing

    if path:
        return _findings(params, dataset_json.read(path))
    if params.dataset.format != "synthetic":
        dataset, info = importing.import_dataset(params.dataset)
        return [*importing.doubtful(info), *_findings(params, dataset)]
    from mgral.planning.run_plan import RunPlan

    plan = RunPlan(params)
    made = f"dataset.format: synthetic: the run generates the data set in {plan.raw}"
    missing = [name for name in plan.generated_images() if not Path(name).is_file()]
    if missing:
        return [f"{made}; {len(missing)} of its images are not there yet, so there is nothing to check"]
    dataset, _ = importing.import_dataset(params.dataset.model_copy(update={"root": plan.raw}))
    return [f"{made}; the {len(dataset.images)} images that lie there are checked", *_findings(params, dataset)]


def _findings(params: Params, dataset: Dataset) -> list[str]:
    """What :mod:`mgral.planning.data_check` finds, a line each. Raises MgralError for what a run must fail on."""
    from mgral.data import fitness
    from mgral.data.resizing import Resizing
    from mgral.detection.base import build_detector
    from mgral.detection.priors import with_priors
    from mgral.planning import data_check

    asked = loading.sections(fitness.Params, params.model_dump(mode="json"), "parameters")
    if what := fitness.unfit(dataset, asked):
        raise MgralError(f"{dataset.root}: {what}")
    priors = None
    if getattr(plugins.load("detectors", params.detector.name), "PRIORS", True):
        options = params.detector.options
        side = Resizing.of(params.resize, params.image_size, params.longest_edge).side(dataset)
        detector = build_detector(params.detector.name, dataset.classes, side, options, params.seeds[0])
        priors = with_priors(detector).priors.double().numpy()
    found = [f"warning: {line}" for line in data_check.findings(params, dataset, priors)]
    return found or ["the data set is fit for the experiment: no problem found"]


def _check_pool(params: Params, path: Path) -> None:
    """Raises MgralError if the images of train do not suffice for all cycles."""
    from mgral.data import dataset_json
    from mgral.data.pool import shortage

    images = len(dataset_json.read(path).ids("train"))
    if what := shortage(images, params.budget.initial, params.budget.batch, params.cycles):
        raise MgralError(f"{path}: {what}")
