"""One pass of a trained detector over the pool, written as it goes: embeddings.npz and detections.npz."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from mgral.core.types import Detections, Embeddings
from mgral.detection import detections_file, npz_files
from mgral.detection.base import EMBEDDING_DIM
from mgral.detection.trainers import Trainer


def embed(
    trainer: Trainer,
    ids: Iterable[int],
    classes: int,
    embeddings: Path,
    detections: Path,
    keep: Collection[str],
    held_out: Collection[int] | None = None,
    foundation: Path | None = None,
) -> dict[int, Detections]:
    """Embed images and detect objects in them.

    In memory are the embeddings (1 KiB an image), the detections of one forward pass, and those of ``held_out``.

    Args:
        trainer: with a trained detector.
        ids: of the images.
        classes: C.
        embeddings: file to write, of all images.
        detections: file to write.
        keep: what is written of a detection beside box, score and class, of :data:`detections_file.KEPT`.
        held_out: write the detections of these images alone. None: of all.
        foundation: file with the embeddings of a backbone that is no part of the detector. None: the detector embeds.

    Returns:
        The detections of ``held_out``; of None, none.

    Raises:
        MgralError: the detector fails, or a file cannot be written.
    """
    ids = sorted(ids)
    vectors = [np.zeros((0, EMBEDDING_DIM), np.float32)]
    found: dict[int, Detections] = {}
    with detections_file.writing(detections, trainer.activation, classes, keep) as file:
        for part in trainer.infer_in_parts(ids, features="features" in keep, embed=foundation is None):
            if foundation is None:
                vectors.append(part.embeddings.vectors)
            if held_out is None:
                file.add(part.detections)
            else:
                kept = {i: one for i, one in part.detections.items() if i in held_out}
                file.add(kept)
                found |= kept
    if foundation is not None:
        vectors = [npz_files.read_embeddings(foundation).rows(ids)]
    npz_files.write_embeddings(Embeddings(np.asarray(ids, np.int64), np.concatenate(vectors)), embeddings)
    return found
