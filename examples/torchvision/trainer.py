"""Faster R-CNN of torchvision as `detector: command`; a template for a trainer of your own.

trainer.py train   --data TRAIN.json --images ROOT --weights OUT --seed N --loss OUT.csv [--steps 300]
trainer.py predict --data LIST.json  --images ROOT --weights IN  --results OUT.json --vectors OUT.npz
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import mobilenet_backbone
from torchvision.transforms.functional import hflip, pil_to_tensor


def build(classes: int, size: int) -> nn.Module:
    """A small Faster R-CNN from scratch; class 0 is the background, as torchvision has it."""
    backbone = mobilenet_backbone(
        backbone_name="mobilenet_v3_large", weights=None, fpn=True, trainable_layers=6, norm_layer=nn.BatchNorm2d
    )
    return FasterRCNN(
        backbone,
        classes + 1,
        min_size=size,
        max_size=size * 2,
        rpn_anchor_generator=AnchorGenerator(((8, 16, 32, 64, 96),) * 3, ((0.5, 1.0, 2.0),) * 3),
        rpn_pre_nms_top_n_train=300,  # few proposals: a processor has the time for these
        rpn_post_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=200,
        box_batch_size_per_image=96,
    )


def read(path: str) -> tuple[list[dict], dict[int, list[dict]], int]:
    """Images, their annotations and the number of classes of a COCO JSON."""
    coco = json.loads(Path(path).read_text(encoding="utf-8"))
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in coco["images"]}
    for one in coco["annotations"]:
        if not one["iscrowd"]:
            by_image[one["image_id"]].append(one)
    return coco["images"], by_image, len(coco["categories"])


def pixels(root: str, image: dict) -> Tensor:
    with Image.open(Path(root) / image["file_name"]) as opened:
        return pil_to_tensor(opened.convert("RGB")).float() / 255


def target(annotations: list[dict]) -> dict[str, Tensor]:
    boxes = torch.tensor([one["bbox"] for one in annotations], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return {"boxes": boxes, "labels": torch.tensor([one["category_id"] for one in annotations], dtype=torch.int64)}


def train(given: argparse.Namespace) -> None:
    torch.manual_seed(given.seed)
    order = np.random.default_rng(given.seed)
    images, annotations, classes = read(given.data)
    model = build(classes, given.size).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, given.rate, given.steps)
    rows = []
    for step in range(given.steps):
        batch, targets = [], []
        for k in order.choice(len(images), given.batch):
            picture, truth = pixels(given.images, images[k]), target(annotations[images[k]["id"]])
            if order.random() < 0.5:
                picture = hflip(picture)
                truth["boxes"][:, [0, 2]] = picture.shape[2] - truth["boxes"][:, [2, 0]]
            batch.append(picture)
            targets.append(truth)
        loss = sum(model(batch, targets).values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        schedule.step()
        rows.append((step, loss.item()))
        if step % 10 == 9:
            print(f"step {step + 1} of {given.steps}: loss {loss.item():.3f}", flush=True)
    facts = {"classes": classes, "size": given.size, "state": model.state_dict()}
    torch.save(facts, given.weights)
    with Path(given.loss).open("w", newline="") as file:
        csv.writer(file).writerows([("step", "loss"), *rows])


@torch.inference_mode()
def predict(given: argparse.Namespace) -> None:
    facts = torch.load(given.weights, weights_only=True)
    model = build(facts["classes"], facts["size"]).eval()
    model.load_state_dict(facts["state"])
    images, _, _ = read(given.data)
    results, vectors = [], []
    for image in images:
        picture = pixels(given.images, image)
        found = model([picture])[0]
        maps = model.backbone(model.transform([picture])[0].tensors)
        vectors.append(torch.cat([one.mean((2, 3))[0] for one in maps.values()]).numpy())
        for (x1, y1, x2, y2), score, label in zip(
            found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True
        ):
            results.append({"image_id": image["id"], "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]})
            results[-1]["score"] = score
    Path(given.results).write_text(json.dumps(results), encoding="utf-8")
    np.savez(given.vectors, ids=np.array([image["id"] for image in images]), vectors=np.stack(vectors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "predict"])
    for name in ("data", "images", "weights"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("loss", "results", "vectors"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--size", type=int, default=160, help="shorter side of an image, pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    {"train": train, "predict": predict}[given.action](given)


if __name__ == "__main__":
    main()
