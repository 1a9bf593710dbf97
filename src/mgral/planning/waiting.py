"""What a run that waits for people says: for which batch, where it lies, and what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mgral.annotation import exchange
from mgral.annotation.returns import Folder
from mgral.core import plugins, run_layout
from mgral.core.errors import MgralError
from mgral.core.run_layout import CYCLE
from mgral.planning.run_plan import RunPlan


def line(plan: RunPlan, params: list[str]) -> str | None:
    """One line for a run that waits; None for one that does not.

    A clone without the files of the run has the manifest of a batch that was sent or answered, among the answers.

    Args:
        plan: of the experiment.
        params: its parameter files, for the commands.

    Raises:
        MgralError: the manifest is damaged.
    """
    if plan.waiting is None:
        return None
    manifest = _manifest(plan, plan.waiting)
    folder = Folder(Path(run_layout.answers_folder(plan.annotations, plan.waiting)))
    options = f"--params {' '.join(params)}"
    there = next((path for path in (manifest, folder.manifest) if path.exists()), None)
    if there is None:
        return f"waiting for people after cycle {plan.waiting}: this run makes its batch, in {manifest.parent}"
    batch = exchange.read_batch(there)
    try:
        files = len(folder.returned(batch))
        returned = f"{files} {'file' if files == 1 else 'files'} returned"
    except MgralError as error:
        returned = str(error)
    images = f"{len(batch.images)} images"
    again = f", sent before and made again by this run in {manifest.parent}"
    images += f" in {manifest.parent}" if there == manifest else again
    return (
        f"waiting for people: batch {batch.id} of cycle {plan.waiting}, {images}, {returned}; "
        f"next: {_how(plan)}, then `mgral close`, each with {options}"
    )


def ending(plan: RunPlan, params: list[str], report: str) -> str:
    """What a run says when it has made everything that it can make.

    Args:
        plan: of the experiment.
        params: its parameter files, for the commands.
        report: path of its page.
    """
    if plan.waiting is None:
        return f"{plan.run} is complete; open {report}"
    batch = _manifest(plan, plan.waiting).parent
    return (
        f"cycle {plan.waiting} is ready to be labelled: its batch is in {batch}; next: {_how(plan)}, "
        f"then `mgral close`, each with --params {' '.join(params)}. The report so far: {report}"
    )


def _manifest(plan: RunPlan, cycle: int) -> Path:
    label, seed = next(iter(plan.strategies)), plan.experiment.seeds[0]
    return Path(run_layout.cycle_folder(plan.run, label, seed, cycle), CYCLE.manifest)


def _how(plan: RunPlan) -> str:
    """How a batch goes to people and comes back, by the tool of the experiment."""
    tool = plugins.load("annotators", plan.experiment.annotation.tool)
    if hasattr(tool, "push"):
        return "`mgral push` and `mgral pull`, or `mgral return FILE`"
    commands = getattr(tool, "COMMANDS", None)
    return f"{f'the commands in its {commands}, and ' if commands else ''}`mgral return FILE`"


def stage(plan: RunPlan, params: list[str]) -> dict[str, Any] | None:
    """What ``dvc.yaml`` has for people: a stage that is run when they returned something; None for a complete run.

    DVC prints no line of its own, but names all stages, also unchanged ones: this one says what it waits for.

    Args:
        plan: of the experiment.
        params: its parameter files, for the command.
    """
    if plan.waiting is None:
        return None
    label, seed = next(iter(plan.strategies)), plan.experiment.seeds[0]
    return {
        "name": f"waiting-for-people-to-label-cycle-{plan.waiting}",
        "cmd": f"mgral status --params {shlex.join(params)}",
        "deps": [run_layout.cycle_folder(plan.run, label, seed, plan.waiting), plan.annotations],
    }
