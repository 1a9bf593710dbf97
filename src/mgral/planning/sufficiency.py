"""Whether the pool of a run suffices for its cycles: asked at each start, since more cycles import nothing again."""

from __future__ import annotations

from pathlib import Path

from mgral.config import loading
from mgral.core.errors import MgralError
from mgral.core.run_layout import CYCLE
from mgral.data import fitness
from mgral.data.pool import read_pool
from mgral.planning.run_plan import RunPlan


def line(plan: RunPlan) -> str | None:
    """One line for a pool that was drawn before and that leaves a later batch empty; None for any other.

    It is no refusal where the data set may have grown since: then the import judges it. That also judges a first run.

    Raises:
        MgralError: the pool is that of the generated data set that the parameters describe, so that the run must fail.
    """
    path = Path(plan.shared_folder(plan.experiment.seeds[0]), CYCLE.pool)
    if not path.exists():
        return None
    try:
        pool = read_pool(path)
    except MgralError:  # for the step to say that reads it
        return None
    asked = loading.sections(fitness.Params, plan.parameters(), "parameters")
    images = len(pool.labelled) + len(pool.unlabelled)
    what = fitness.exhausted(images, asked)
    if what and images == plan.generated_train:
        raise MgralError(f"{path}: {what}")
    return f"warning: {path}: {what}" if what else None
