"""The next batch from a folder of images and a detector of torchvision: no run, no labels, no mgral detector.

python examples/next_batch.py IMAGES WEIGHTS BATCH    (WEIGHTS: a state dict of the network below)
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import mgral

CLASSES = 90


def detect(network: torch.nn.Module, path: Path) -> mgral.Detections:
    """Run the network; its classes count from 1, and it returns the probability of the likeliest class alone."""
    with torch.no_grad(), Image.open(path) as image:
        found = network([torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255])[0]
    labels, scores = found["labels"].numpy() - 1, found["scores"].numpy()
    probs = np.zeros((len(labels), CLASSES), np.float32)
    probs[np.arange(len(labels)), labels] = scores
    return mgral.Detections(found["boxes"].numpy(), scores, labels, probs)


def main(folder: str, weights: str, budget: str) -> None:
    network = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    network.load_state_dict(torch.load(weights, weights_only=True))
    paths = dict(enumerate(sorted(Path(folder).rglob("*.jpg")), start=1))
    detections = {i: detect(network.eval(), path) for i, path in paths.items()}
    pool = mgral.Pool(cycle=0, labelled={}, unlabelled=tuple(paths))
    evidence = mgral.Evidence(pool, tuple(f"class {k}" for k in range(CLASSES)), detections, "sigmoid")
    for pick in mgral.select("entropy", evidence, int(budget)):
        print(paths[pick.id], f"{pick.score:.2f}", dict(pick.reason))


main(*sys.argv[1:]) if len(sys.argv) == 4 else sys.exit(__doc__)
