"""How a job that holds a detector is started: in which environment, by which command, with which share of the GPUs."""

from __future__ import annotations

from collections.abc import Container

from mgral.config.schema import Params


def environment(params: Params) -> str:
    """The file of the environment, below ``workflow/envs``: detectors of mmdet have one of their own."""
    return "mmdet.yaml" if params.detector.name == "mmdet" else "mgral.yaml"


def command(params: Params) -> str:
    """What stands before the verb.

    The job leases a GPU, if there is one: which one, it learns when it runs. The command is the same with and without
    GPUs.
    """
    start = "workflow/scripts/mgral-mmdet" if params.detector.name == "mmdet" else "mgral"
    return start if params.machine.device == "cpu" else f"workflow/scripts/lease.py {start}"


def gpus(params: Params, given: Container[str]) -> int | None:
    """The share of a job, counted where a run is given GPUs or must have them; nothing that a step is run again for.

    Args:
        params: the experiment.
        given: names of the resources that the run is given: ``snakemake --resources gpu=2``.

    Returns:
        None for no share at all, so that a cluster without GPUs is not asked for one.
    """
    counts = params.machine.device == "cuda" or (params.machine.device == "auto" and "gpu" in given)
    return 1 if counts else None
