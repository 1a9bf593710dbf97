"""Ultralytics YOLO as `detector: command`: from scratch, the smallest model unless another is named.

trainer.py train   --data TRAIN.json --val VAL.json --images ROOT --weights OUT --seed N --loss OUT.csv
trainer.py predict --data LIST.json --images ROOT --weights IN --results OUT.json --vectors OUT.npz
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("YOLO_OFFLINE", "true")

import numpy as np
import torch
import yaml
from ultralytics import YOLO


def yolo_folder(path: str, root: str, folder: Path, part: str) -> dict[int, str]:
    """Lay out one part as YOLO wants it: links to the images, named by id, and a text file of boxes for each."""
    coco = json.loads(Path(path).read_text(encoding="utf-8"))
    images, labels = folder / "images" / part, folder / "labels" / part
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    sizes = {}
    for image in coco["images"]:
        source = (Path(root) / image["file_name"]).resolve()
        (images / f"{image['id']}{source.suffix}").symlink_to(source)
        (labels / f"{image['id']}.txt").touch()
        sizes[image["id"]] = image["width"], image["height"]
    for one in coco["annotations"]:
        if one["iscrowd"]:
            continue
        (x, y, w, h), (width, height) = one["bbox"], sizes[one["image_id"]]
        line = [one["category_id"] - 1, (x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        with (labels / f"{one['image_id']}.txt").open("a") as file:
            file.write(" ".join(map(str, line)) + "\n")
    return {category["id"] - 1: category["name"] for category in coco["categories"]}


def train(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = yolo_folder(given.data, given.images, folder, "train")
        yolo_folder(given.val, given.images, folder, "val")
        facts = {"path": str(folder), "train": "images/train", "val": "images/val", "names": names}
        (folder / "data.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")
        YOLO(given.model).train(
            data=str(folder / "data.yaml"),
            epochs=given.epochs,
            imgsz=given.size,
            batch=given.batch,
            seed=given.seed,
            deterministic=True,
            workers=0,
            device=given.device,
            project=str(folder),
            name="run",
            val=False,
            plots=False,
            pretrained=False,
            amp=False,
            verbose=False,
        )
        shutil.copy(folder / "run" / "weights" / "last.pt", given.weights)
        with (folder / "run" / "results.csv").open(newline="") as file:
            rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    with Path(given.loss).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "loss"))
        parts = ("train/box_loss", "train/cls_loss", "train/dfl_loss")
        writer.writerows((int(row["epoch"]), sum(float(row[part]) for part in parts)) for row in rows)


def predict(given: argparse.Namespace) -> None:
    coco = json.loads(Path(given.data).read_text(encoding="utf-8"))
    copy = Path(given.results).with_suffix(".pt")  # Ultralytics knows weights by their suffix
    shutil.copy(given.weights, copy)
    model = YOLO(copy)
    results, vectors = [], []
    for image in coco["images"]:
        path = str(Path(given.images) / image["file_name"])
        found = model.predict(path, imgsz=given.size, conf=0.01, iou=0.5, device=given.device, verbose=False)[0].boxes
        for box, score, label in zip(found.xywh.tolist(), found.conf.tolist(), found.cls.tolist(), strict=True):
            x, y, w, h = box
            results.append({"image_id": image["id"], "category_id": int(label) + 1, "score": score})
            results[-1]["bbox"] = [x - w / 2, y - h / 2, w, h]
        vectors.append(model.embed(path, imgsz=given.size, device=given.device, verbose=False)[0].cpu().numpy())
    Path(given.results).write_text(json.dumps(results), encoding="utf-8")
    np.savez(given.vectors, ids=np.array([image["id"] for image in coco["images"]]), vectors=np.stack(vectors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "predict"])
    for name in ("data", "images", "weights"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("val", "loss", "results", "vectors"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--model", default="yolo11n.yaml", help="a .yaml starts from scratch, a local .pt from weights")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    {"train": train, "predict": predict}[given.action](given)


if __name__ == "__main__":
    main()
