"""Every path of a run, written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgral.core import run_layout
from mgral.core.run_layout import CYCLE, RUN


def test_a_cycle_of_a_run() -> None:
    run = run_layout.run_folder("voc")
    assert run == "data/runs/voc"
    assert run_layout.raw_folder("voc") == "data/raw/voc"
    folder = run_layout.cycle_folder(run, "mgral", 3, 2)
    assert folder == "data/runs/voc/mgral/seed-3/cycle-2"
    assert CYCLE.below(f"{folder}/").audit == "data/runs/voc/mgral/seed-3/cycle-2/table/audit.json"
    assert RUN.below(f"{run}/").dataset == "data/runs/voc/dataset/dataset.json"
    assert run_layout.retrained(4) == "noise/repeat-4"


def test_wildcards_stand_where_no_value_is_given() -> None:
    folder = run_layout.cycle_folder("data/runs/voc", "shared", cycle=0)
    assert folder == "data/runs/voc/shared/seed-{seed}/cycle-0"
    part = CYCLE.below(f"{run_layout.cycle_folder('run')}/{{part}}")
    assert part.batches == "run/{strategy}/seed-{seed}/cycle-{cycle}/{part}batches.json"
    assert run_layout.retrained() == "noise/repeat-{repeat}"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("data/runs/voc/core-set:x/seed-12/cycle-0", ("core-set:x", 12, 0)),
        ("random/seed-0/cycle-1", ("random", 0, 1)),
        ("random/seed-0/cycle-1/replay", None),
        ("random/seed-x/cycle-1", None),
        ("seed-0/cycle-1", None),
        ("data/runs/voc", None),
    ],
)
def test_the_folder_of_a_cycle_is_recognised(folder: str, expected: tuple[str, int, int] | None) -> None:
    assert run_layout.cycle_of(Path(folder)) == expected


@pytest.mark.parametrize(
    ("part", "kind", "words"),
    [
        ("", "unlabelled", ""),
        ("replay/", "replay", ", replay"),
        ("second_round/", "unlabelled", ", second round"),
        ("second_round/replay/", "replay", ", second round, replay"),
        ("replay-2/", "replay", ", replay-2"),
        ("second_round/replay-2/", "replay", ", second round, replay-2"),
    ],
)
def test_parts_of_a_cycle(part: str, kind: str, words: str) -> None:
    assert part in run_layout.parts(2) and (part in run_layout.parts(1)) == ("-2" not in part)
    assert run_layout.kind_of(part) == kind
    assert run_layout.split_of(part) == (2 if "-2" in part else 1)
    assert run_layout.part_in_words(part) == words
    assert (len(run_layout.parts(1)), len(run_layout.parts(2))) == (4, 6)
    assert run_layout.replay(12) == "replay-12/"


def test_records_and_what_jobs_leave() -> None:
    assert run_layout.record(run_layout.CONTROL, 3) == "control/3.json"
    assert run_layout.record(run_layout.PROXIES) == "proxies/*.json"
    assert run_layout.log("run", "train", "replay/shared-0-0") == "run/logs/train/replay/shared-0-0.log"
    assert run_layout.log("run", "curve", "all") == "run/logs/curve/all.log"


def test_logs_are_found_with_their_step(tmp_path: Path) -> None:
    names = [("train", "shared-0-0"), ("proxy", "second_round/replay/shared-0-0-13"), ("curve", "all")]
    for step, job in names:
        path = Path(run_layout.log(tmp_path, step, job))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [(step, name) for step, name, _ in run_layout.logs(tmp_path)] == [
        ("curve", "all"),
        ("proxy/second_round/replay", "shared-0-0-13"),
        ("train", "shared-0-0"),
    ]
    assert run_layout.logs(tmp_path / "none") == []
