"""One pass of a trained detector over the pool, written as it goes: embeddings.npz and detections.npz."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from mgral.core.types import Detections, Embeddings
from mgral.detection import detections_file, npz_files
from mgral.detection.base import EMBEDDING_DIM
from mgral.detection.npz_files import Precision
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
    precision: Precision = "float32",
) -> dict[int, Detections]:
    """Embed images and detect objects in them.

    In memory are the results of one forward pass, and the detections of ``held_out``.

    Args:
        trainer: with a trained detector.
        ids: of the images.
        classes: C.
        embeddings: file to write, of all images.
        detections: file to write.
        keep: what is written of a detection beside box, score and class, of :data:`detections_file.KEPT`.
        held_out: write the detections of these images alone. None: of all.
        foundation: file with the embeddings of a backbone that is no part of the detector. None: the detector embeds.
        precision: of the embeddings in their file.

    Returns:
        The detections of ``held_out``; of None, none.

    Raises:
        MgralError: the detector fails, or a file cannot be written.
    """
    found: dict[int, Detections] = {}
    stored = None if foundation is None else npz_files.read_embeddings(foundation)
    with (
        npz_files.writing_embeddings(embeddings, EMBEDDING_DIM, precision) as add,
        detections_file.writing(detections, trainer.activation, classes, keep) as file,
    ):
        for part in trainer.infer_in_parts(sorted(ids), features="features" in keep, embed=stored is None):
            seen = sorted(part.detections)
            own = part.embeddings
            if stored is not None:
                own = Embeddings(np.asarray(seen, np.int64), stored.rows(seen), quality=own.quality)
            add(own)
            if held_out is None:
                file.add(part.detections)
            else:
                kept = {i: one for i, one in part.detections.items() if i in held_out}
                file.add(kept)
                found |= kept
    return found
