"""What is written comes back, and a file that is none is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mgral.arrays import read_detections, write_detections
from mgral.errors import MgralError
from mgral.types import Detections


def detections(count: int, features: bool) -> Detections:
    rng = np.random.default_rng(count)
    return Detections(
        rng.random((count, 4), np.float32),
        rng.random(count, np.float32),
        rng.integers(0, 3, count),
        rng.random((count, 4), np.float32),
        rng.random((count, 64)).astype(np.float16) if features else None,
    )


@pytest.mark.parametrize("features", [True, False])
def test_detections_come_back(tmp_path: Path, features: bool) -> None:
    given = {7: detections(2, features), 3: detections(0, features), 5: detections(4, features)}
    write_detections(given, "sigmoid", tmp_path / "detections.npz")
    found, activation = read_detections(tmp_path / "detections.npz")
    assert activation == "sigmoid" and list(found) == [3, 5, 7]
    for i, one in given.items():
        for name in ("xyxy", "scores", "labels", "probs", "features"):
            before, after = getattr(one, name), getattr(found[i], name)
            assert (before is None) == (after is None)
            if before is not None:
                assert before.dtype == after.dtype
                np.testing.assert_array_equal(before, after)


def test_no_image_at_all(tmp_path: Path) -> None:
    write_detections({}, "softmax", tmp_path / "detections.npz")
    assert read_detections(tmp_path / "detections.npz") == ({}, "softmax")


def test_a_file_of_before_there_were_features_is_to_be_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "detections.npz"
    write_detections({1: detections(2, True)}, "softmax", path)
    with np.load(path) as archive:
        old = {name: archive[name] for name in archive if name != "features"}
    np.savez(path, **old)
    with pytest.raises(MgralError, match="has no array 'features'; make it anew with `mgral embed`"):
        read_detections(path)
