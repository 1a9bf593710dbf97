"""Environment, command and share of the GPUs of what holds a detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgral.config import loading
from mgral.config.schema import Params
from mgral.planning import detector_jobs

ROOT = Path(__file__).resolve().parents[3]


def params(name: str, device: str) -> Params:
    read = loading.read([ROOT / "params/base.yaml", ROOT / f"params/{name}.yaml"])
    return read.model_copy(update={"machine": read.machine.model_copy(update={"device": device})})


@pytest.mark.parametrize(("name", "start"), [("tiny", "mgral"), ("tiny_mmdet", "workflow/scripts/mgral-mmdet")])
def test_detectors_of_mmdet_work_in_an_environment_of_their_own(name: str, start: str) -> None:
    given = params(name, "cpu")
    assert detector_jobs.command(given) == start
    assert start == "mgral" or (ROOT / start).is_file()
    file = detector_jobs.environment(given)
    assert (file == "mmdet.yaml") == (name == "tiny_mmdet")
    assert (ROOT / "workflow/envs" / file).is_file()


@pytest.mark.parametrize(
    ("device", "leases", "share", "share_where_given"),
    [("cpu", False, None, None), ("auto", True, None, 1), ("cuda", True, 1, 1)],
)
def test_a_gpu_is_counted_where_a_run_has_or_needs_one(device, leases, share, share_where_given) -> None:
    given = params("tiny", device)
    assert detector_jobs.command(given) == ("workflow/scripts/lease.py mgral" if leases else "mgral")
    assert detector_jobs.gpus(given, {"mem_mb"}) == share
    assert detector_jobs.gpus(given, {"gpu": 2}) == share_where_given
