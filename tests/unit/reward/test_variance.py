"""Spreads between batches and between seeds, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Kind, Record
from mgral.reward import variance


def record(image: int, value: float, generator: str = "random", kind: Kind = "unlabelled") -> Record:
    return Record((image,), generator, value, 1.0, kind)


def test_between_batches_and_between_seeds() -> None:
    # Random 0.2 and 0.4: mean 0.3, deviation √(0.02 / 1). With 0.6: mean 0.4, √((0.04 + 0 + 0.04) / 2) = 0.2.
    # Batch 1 again with 0.24 and 0.28, beside its 0.2: mean 0.24, √((0.0016 + 0 + 0.0016) / 2) = 0.04.
    found = [
        record(1, 0.2),
        record(2, 0.4),
        replace(record(3, 0.6, "class"), stopped=True),
        record(4, 0.1, kind="replay"),
    ]
    audit = variance.audit(found, [], [record(1, 0.24), record(1, 0.28)])
    assert audit["kinds"]["unlabelled"] == {
        "records": 3,
        "stopped": 1,
        "reference": pytest.approx(0.3),
        "between_batches": pytest.approx(0.2),
        "between_random": pytest.approx(math.sqrt(0.02)),
        "between_seeds": pytest.approx(0.04),
        "seeds": 3,
    }
    replay = audit["kinds"]["replay"]
    assert (replay["records"], replay["stopped"], replay["seeds"]) == (1, 0, 0)
    assert replay["reference"] == pytest.approx(0.1)
    assert (replay["between_batches"], replay["between_seeds"]) == (None, None)
    assert audit["control"] is None


def test_spreads_are_within_replay_splits() -> None:
    # Split 1: random 0.2 and 0.4, with 0.6 a spread of 0.2. Split 2: random 0.8, with 0.9 a variance of 0.005: pooled
    # √((2 · 0.04 + 1 · 0.005) / 3). Repeats: 0.24 and 0.2 of split 1, variance 0.0008; 0.8 and 0.7 of split 2, 0.005.
    found = [record(1, 0.2), record(2, 0.4), record(3, 0.6, "class"), record(1, 0.8), record(2, 0.9, "class")]
    found = [replace(one, kind="replay", split=1 if k < 3 else 2) for k, one in enumerate(found)]
    repeats = [replace(record(1, value, kind="replay"), split=split) for value, split in ((0.24, 1), (0.7, 2))]
    assert variance.audit(found, [], repeats)["kinds"]["replay"] == {
        "records": 5,
        "stopped": 0,
        "reference": pytest.approx((0.3 + 0.8) / 2),
        "between_batches": pytest.approx(math.sqrt(0.085 / 3)),
        "between_random": pytest.approx(math.sqrt(0.02)),
        "between_seeds": pytest.approx(math.sqrt((0.0008 + 0.005) / 2)),
        "seeds": 4,
        "splits": 2,
    }


def test_a_control_stands_beside_the_same_batches() -> None:
    # With the weight 0.2 and 0.4, without 0.5 and 0.5; batch 3 has no control, and replay batches have none.
    found = [record(1, 0.2), record(2, 0.4), record(3, 0.9), record(1, 0.7, kind="replay")]
    control = [record(1, 0.5, kind="control"), record(2, 0.5, kind="control")]
    assert variance.audit(found, control, [])["control"] == {
        "batches": 2,
        "mean": pytest.approx(0.3),
        "spread": pytest.approx(math.sqrt(0.02)),
        "control_mean": pytest.approx(0.5),
        "control_spread": 0,
    }


def test_a_kind_without_a_random_record_is_refused() -> None:
    with pytest.raises(MgralError, match="no replay record of cycle 0 is of a random batch"):
        variance.audit([record(1, 0.2), record(2, 0.3, "class", "replay")], [], [])
