"""What a detector is worth: ``metrics.json`` of the cycle's, ``own.json`` of one that a strategy trained for itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mgral.pools import Pool
from mgral.types import Boxes, Dataset, Detect


def write(path: Path, dataset: Dataset, pool: Pool, detect: Detect, max_detections: int) -> None:
    """Evaluate a detector on val and test, and write that with what its labels cost.

    Args:
        path: of the file.
        dataset: ground truth.
        pool: what it was trained on.
        detect: what it finds.
        max_detections: per image, see :func:`mgral.evaluation.evaluate`.

    Raises:
        MgralError: no ground truth in a split.
    """
    from mgral.evaluation import evaluate
    from mgral.files import write_json

    results = {}
    for split in ("val", "test"):
        ids = dataset.ids(split)
        results[split] = evaluate(dataset, detect(ids), ids, max_detections)
    write_json(path, {"cycle": pool.cycle, **_labelled(dataset, pool), **results})


def _labelled(dataset: Dataset, pool: Pool) -> dict[str, Any]:
    """What the labels of the pool cost, in images and in boxes."""
    counts: Counter[int] = Counter()
    for i in pool.labelled_ids:
        counts.update(dataset.boxes.get(i, Boxes.empty()).labels.tolist())
    classes = {name: counts[k] for k, name in enumerate(dataset.classes)}
    return {"images": len(pool.labelled), "boxes": sum(counts.values()), "classes": classes}
