"""What the template of dvc.yaml is filled with: the stages of a run, in DVC's words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from mgral.core import run_layout
from mgral.planning import waiting
from mgral.planning.run_plan import RunPlan

BASE = "params/base.yaml"  # which Snakemake reads without being told
FIGURES = ("per_class", "timings")  # that `dvc plots` shows as images


def of(plan: RunPlan, overrides: Sequence[str]) -> dict[str, Any]:
    """The values of ``workflow/dvc.yaml.j2``.

    Args:
        plan: of the run.
        overrides: the parameter files besides the base.
    """
    files = run_layout.RUN.below(f"{plan.run}/")
    return {
        "overrides": list(overrides),
        "configfiles": "".join(f" --configfile {shlex.quote(file)}" for file in overrides),
        "run": plan.run,
        "files": vars(run_layout.CYCLE) | vars(run_layout.RUN),
        "sources": plan.source.roots + plan.registered if plan.source else [],
        "people": plan.asks_people,
        "waiting": waiting.stage(plan, [BASE, *overrides]),
        "dataset": [files.dataset_folder, *([plan.raw] if plan.generated else [])],
        "dataset_files": [f"{plan.run}/{name}" for name in plan.dataset_files()],
        "seeds": plan.experiment.seeds,
        # A function, since Snakemake takes braces in a text for wildcards. In this place a stage of DVC has its seed.
        "shared": lambda wildcards: plan.shared_folder("${item}"),
        "shared_targets": plan.shared_targets(),
        "cycles": list(plan.tracked_cycles()),
        "results": plan.results(),
        "metrics": plan.metrics(),
        "searched": plan.searched_folders(),
        "figures": list(FIGURES),
    }
