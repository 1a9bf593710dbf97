"""A detector of few lines, as a user's own trainer would be called: it learns the colour and the size of each class.

toy_trainer.py train TRAIN IMAGES WEIGHTS SEED
toy_trainer.py predict LIST IMAGES WEIGHTS RESULTS VECTORS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

GRID = 4


def pixels(root: str, image: dict) -> np.ndarray:
    with Image.open(Path(root) / image["file_name"]) as opened:
        return np.asarray(opened.convert("RGB"), np.float64) / 255


def train(data: str, root: str, weights: str, seed: str) -> None:
    coco = json.loads(Path(data).read_text())
    by_id = {image["id"]: pixels(root, image) for image in coco["images"]}
    classes = {}
    for category in coco["categories"]:
        colours, sizes = [], []
        for one in coco["annotations"]:
            if one["category_id"] == category["id"]:
                x, y, w, h = one["bbox"]
                patch = by_id[one["image_id"]][int(y) : int(y + h) + 1, int(x) : int(x + w) + 1]
                colours.append(patch.mean((0, 1)).tolist())
                sizes.append([w, h])
        if colours:
            classes[category["id"]] = {"colour": np.mean(colours, 0).tolist(), "size": np.mean(sizes, 0).tolist()}
    Path(weights).mkdir()
    (Path(weights) / "model.json").write_text(json.dumps({"seed": int(seed), "classes": classes}))


def predict(images: str, root: str, weights: str, results: str, vectors: str) -> None:
    model = json.loads((Path(weights) / "model.json").read_text())["classes"]
    coco = json.loads(Path(images).read_text())
    found, embeddings = [], []
    for image in coco["images"]:
        values = pixels(root, image)
        height, width = values.shape[:2]
        embeddings.append([*values.mean((0, 1)), *values.std((0, 1))])
        for category, learnt in model.items():
            w, h = learnt["size"]
            for row in range(GRID):
                for column in range(GRID):
                    x, y = (width - w) * column / (GRID - 1), (height - h) * row / (GRID - 1)
                    patch = values[max(int(y), 0) : int(y + h) + 1, max(int(x), 0) : int(x + w) + 1]
                    distance = np.abs(patch.mean((0, 1)) - learnt["colour"]).sum()
                    found.append({"image_id": image["id"], "category_id": int(category), "bbox": [x, y, w, h]})
                    found[-1]["score"] = float(np.exp(-5 * distance))
    Path(results).write_text(json.dumps(found))
    np.savez(vectors, ids=np.array([one["id"] for one in coco["images"]]), vectors=np.array(embeddings))


if __name__ == "__main__":
    {"train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])
