"""A folder of images of which some are annotated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def folder(root: Path, names: Sequence[str], annotated: Sequence[str]) -> None:
    """Pictures that differ, and COCO labels of some: class ``ant`` or ``bee``, by turns."""
    root.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            Image.new("RGB", (16, 12), (number, len(name), 0)).save(root / name)
    images = [{"id": i, "file_name": name} for i, name in enumerate(annotated, start=1)]
    boxes = [{"id": i["id"], "image_id": i["id"], "category_id": 1 + i["id"] % 2, "bbox": [1, 2, 3, 4]} for i in images]
    categories = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}]
    (root / "labels.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
