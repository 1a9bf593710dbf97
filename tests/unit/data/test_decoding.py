"""Images decoded by several processes: the same as by one, in the same order; a process that ends is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image as Picture

from mgral.core.errors import MgralError
from mgral.data import decoding, image_files

COUNT = 300


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Images of different sizes, some damaged or missing; two processes, whatever the machine has."""
    monkeypatch.setattr(decoding, "FEWEST", 10)
    monkeypatch.setattr(decoding, "processes", lambda: 2)
    for k in range(COUNT):
        if k % 7:
            Picture.new("RGB", (k + 1, 5)).save(tmp_path / f"{k}.png")
        elif k % 2:
            (tmp_path / f"{k}.png").write_bytes(b"x" * k)
    return [str(tmp_path / f"{k}.png") for k in range(COUNT)]


def told(found: image_files.Facts | ValueError) -> object:
    return str(found) if isinstance(found, ValueError) else found


@pytest.mark.slow
def test_several_processes_find_what_one_finds(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    several = [told(found) for found in decoding.examined(paths, 1400)]
    monkeypatch.setattr(decoding, "processes", lambda: 1)
    assert several == [told(found) for found in decoding.examined(paths, 1400)]
    assert sum("missing" in str(found) for found in several) == 22
    assert sum("not an image" in str(found) for found in several) == 21
    assert sum("allows 1400" in str(found) for found in several) == sum(
        5 * (k + 1) > 1400 and k % 7 > 0 for k in range(COUNT)
    )


def test_it_runs_in_other_processes(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "examine", lambda path, most: os.getpid())
    found = set(decoding.examined(paths, 1))
    assert os.getpid() not in found and len(found) <= 2


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_in_one_line(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "examine", lambda path, most: os._exit(9))
    with pytest.raises(MgralError, match="OMP_NUM_THREADS=1"):
        list(decoding.examined(paths, 1))


def test_what_is_not_asked_for_ends_at_once(paths: list[str]) -> None:
    found = decoding.examined(paths, 1400)
    assert isinstance(next(found), ValueError)
    found.close()


@pytest.mark.parametrize(("text", "most"), [("1", 1), ("3", 3), ("100", 8), ("", 8), ("two", 8)])
def test_processes_are_as_many_as_a_job_may_use(text: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert decoding.processes() == min(most, len(os.sched_getaffinity(0)))
