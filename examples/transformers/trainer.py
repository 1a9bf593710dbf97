"""RT-DETR of transformers as `detector: command`: a set-prediction detector, small and from random initial weights.

trainer.py train   --data TRAIN.json --images ROOT --weights OUT --seed N --loss OUT.csv [--steps 300]
trainer.py predict --data LIST.json  --images ROOT --weights IN  --results OUT.json --vectors OUT.npz
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig


def build(classes: int, size: int) -> RTDetrForObjectDetection:
    """RT-DETR over a ResNet-18, with a narrow encoder and two decoder layers; nothing is downloaded."""
    backbone = RTDetrResNetConfig(
        depths=[2, 2, 2, 2],
        hidden_sizes=[64, 128, 256, 512],
        embedding_size=64,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,  # they start from scratch, so they learn
        encoder_in_channels=[128, 256, 512],
        d_model=128,
        encoder_hidden_dim=128,
        encoder_ffn_dim=256,
        decoder_in_channels=[128, 128, 128],
        decoder_ffn_dim=256,
        decoder_layers=2,
        hidden_expansion=0.5,
        num_queries=100,
        num_denoising=50,
        num_labels=classes,
        anchor_image_size=[size, size],
    )
    return RTDetrForObjectDetection(config)


def read(path: str) -> tuple[list[dict], dict[int, list[dict]], int]:
    """Images, their annotations and the number of classes of a COCO JSON."""
    coco = json.loads(Path(path).read_text(encoding="utf-8"))
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in coco["images"]}
    for one in coco["annotations"]:
        if not one["iscrowd"]:
            by_image[one["image_id"]].append(one)
    return coco["images"], by_image, len(coco["categories"])


def pixels(root: str, image: dict, size: int) -> Tensor:
    """uint8 [3, size, size], squashed to a square."""
    with Image.open(Path(root) / image["file_name"]) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB").resize((size, size)))).permute(2, 0, 1)


def target(image: dict, annotations: list[dict]) -> dict[str, Tensor]:
    """Classes from 0, and boxes as centre and sides in shares of the image, as DETR has them."""
    boxes = torch.tensor([one["bbox"] for one in annotations], dtype=torch.float32).reshape(-1, 4)
    boxes[:, :2] += boxes[:, 2:] / 2
    boxes /= torch.tensor([image["width"], image["height"]] * 2)
    return {"class_labels": torch.tensor([one["category_id"] - 1 for one in annotations]).long(), "boxes": boxes}


def mirrored(picture: Tensor, truth: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    boxes = truth["boxes"].clone()
    boxes[:, 0] = 1 - boxes[:, 0]
    return picture.flip(2), {**truth, "boxes": boxes}


def train(given: argparse.Namespace) -> None:
    torch.manual_seed(given.seed)  # initial weights, and the noise of the denoising queries
    order = np.random.default_rng(given.seed)
    images, annotations, classes = read(given.data)
    known = [(pixels(given.images, one, given.size), target(one, annotations[one["id"]])) for one in images]
    model = build(classes, given.size).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, given.rate, given.steps)
    rows = []
    for step in range(given.steps):
        chosen = [known[k] for k in order.choice(len(known), given.batch)]
        chosen = [mirrored(*one) if order.random() < 0.5 else one for one in chosen]
        batch = torch.stack([picture for picture, _ in chosen]).float() / 255
        loss = model(pixel_values=batch, labels=[truth for _, truth in chosen]).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        schedule.step()
        rows.append((step, loss.item()))
        if step % 10 == 9:
            print(f"step {step + 1} of {given.steps}: loss {loss.item():.3f}", flush=True)
    torch.save({"classes": classes, "size": given.size, "state": model.state_dict()}, given.weights)
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
        found = model(pixel_values=pixels(given.images, image, facts["size"])[None].float() / 255)
        maps = found.encoder_last_hidden_state
        vectors.append(torch.cat([one.mean((2, 3))[0] for one in maps]).numpy())
        width, height = image["width"], image["height"]
        probs = found.logits[0].sigmoid()
        for (x, y, w, h), row in zip(found.pred_boxes[0].tolist(), probs.tolist(), strict=True):
            score = max(row)
            box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            results.append({"image_id": image["id"], "category_id": row.index(score) + 1, "bbox": box})
            results[-1] |= {"score": score, "probs": row}
    Path(given.results).write_text(json.dumps(results), encoding="utf-8")
    np.savez(given.vectors, ids=np.array([image["id"] for image in images]), vectors=np.stack(vectors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["train", "predict"])
    for name in ("data", "images", "weights"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("loss", "results", "vectors"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--size", type=int, default=160, help="side of the square input, a multiple of 32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    {"train": train, "predict": predict}[given.action](given)


if __name__ == "__main__":
    main()
