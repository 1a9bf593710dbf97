"""Searches for cyclic garbage: seldom while a verb runs, as before when it has ended."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from mgral import cli
from mgral.cli import list_
from mgral.core.files import seldom_collected


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("before", "during"), [(700, 100_000), (200_000, 200_000), (0, 0)])
def test_a_higher_threshold_or_none_at_all_stays(before: int, during: int) -> None:
    gc.set_threshold(before, 11, 12)
    with pytest.raises(KeyError), seldom_collected():
        assert gc.get_threshold() == (during, 11, 12)
        raise KeyError
    assert gc.get_threshold() == (before, 11, 12)


def test_a_verb_runs_with_seldom_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(list_, "run", lambda given: seen.append(gc.get_threshold()[0]))
    gc.set_threshold(700, 10, 10)
    assert cli.main(["list", "strategies"]) == 0
    assert seen == [100_000] and gc.get_threshold() == (700, 10, 10)
