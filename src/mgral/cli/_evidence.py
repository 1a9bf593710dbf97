"""Evidence from files, for the verbs that draw or select."""

from __future__ import annotations

from pathlib import Path

from mgral import arrays, pools, representations
from mgral.errors import MgralError
from mgral.strategies import Evidence
from mgral.types import Dataset, Embeddings


def read(
    dataset: Dataset,
    pool: Path,
    embeddings: Path | None,
    detections: Path | None,
    agent: Path | None = None,
    assessment: Path | None = None,
    needs: frozenset[str] = frozenset(),
) -> Evidence:
    """What of the evidence there are files for, and of the ground truth what is among the ``needs``.

    Raises:
        MgralError: a file is missing or damaged, the pool is of another data set, or the detections are of another
            number of classes.
    """
    state = pools.read(pool, dataset)
    found, activation = arrays.read_detections(detections) if detections else (None, None)
    for one in (found or {}).values():
        classes = one.probs.shape[1] - (activation == "softmax")
        if classes != len(dataset.classes):
            raise MgralError(
                f"{detections}: is of {classes} classes, the data set of {len(dataset.classes)}; "
                "make it anew with `mgral embed`"
            )
    return Evidence(
        state,
        dataset.classes,
        found,
        activation,
        arrays.read_embeddings(embeddings) if embeddings else None,
        agent,
        {i: dataset.boxes[i] for i in state.labelled} if "labels" in needs else None,
        dataset.boxes if "truth" in needs else None,
        arrays.read_assessment(assessment) if assessment else None,
    )


def read_embeddings(path: Path, detections: Path | None) -> Embeddings:
    """Embeddings, with the objects that are expected in the images where there is a file of detections.

    Raises:
        MgralError: a file is missing or damaged, or they are of different images.
    """
    embeddings = arrays.read_embeddings(path)
    if detections is None:
        return embeddings
    try:
        return representations.with_objects(embeddings, *arrays.read_detections(detections))
    except MgralError as error:
        raise MgralError(f"{detections}: {error}") from None
