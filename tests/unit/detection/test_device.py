"""How many images go through a network at a time."""

from __future__ import annotations

import pytest

from mgral.detection.device import in_batches


@pytest.mark.parametrize(("side", "size"), [(64, 32), (320, 32), (321, 31), (640, 8), (1280, 2), (5000, 1)])
def test_fewer_large_images_go_through_at_a_time(side: int, size: int) -> None:
    ids = list(range(70))
    batches = list(in_batches(ids, side))
    assert [i for batch in batches for i in batch] == ids
    assert {len(batch) for batch in batches[:-1]} == {size} and len(batches[-1]) <= size
