"""Evidence from files, for the verbs that draw or select."""

from __future__ import annotations

from pathlib import Path

from mgral import arrays, pools
from mgral.strategies import Evidence
from mgral.types import Dataset


def read(
    dataset: Dataset, pool: Path, embeddings: Path | None, detections: Path | None, agent: Path | None = None
) -> Evidence:
    """What of the evidence there are files for. Raises MgralError for a missing or damaged one."""
    found, activation = arrays.read_detections(detections) if detections else (None, None)
    return Evidence(
        pools.read(pool),
        dataset.classes,
        found,
        activation,
        arrays.read_embeddings(embeddings) if embeddings else None,
        agent,
    )
