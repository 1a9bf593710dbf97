"""Evidence from files, for the verbs that draw or select."""

from __future__ import annotations

from pathlib import Path

from mgral import arrays, pools
from mgral.strategies import Evidence
from mgral.types import Dataset


def read(
    dataset: Dataset,
    pool: Path,
    embeddings: Path | None,
    detections: Path | None,
    agent: Path | None = None,
    truth: bool = False,
) -> Evidence:
    """What of the evidence there are files for, and the ground truth if asked for.

    Raises:
        MgralError: a file is missing or damaged.
    """
    found, activation = arrays.read_detections(detections) if detections else (None, None)
    return Evidence(
        pools.read(pool),
        dataset.classes,
        found,
        activation,
        arrays.read_embeddings(embeddings) if embeddings else None,
        agent,
        dataset.boxes if truth else None,
    )
