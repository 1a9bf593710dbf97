"""What is written here so that torchvision and torch's compiler need not be imported: the same bits as theirs."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision.ops
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder as TheirCoder
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSDHead

from mgral.detection.adamw import AdamW
from mgral.detection.box_coder import BoxCoder
from mgral.detection.detectors._ssd_parts import DefaultBoxes, Head, Images
from mgral.detection.suppression import LARGE, batched_nms

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def boxes(count: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draw) * 90
    return torch.cat([corner, corner + 0.5 + 40 * torch.rand(count, 2, generator=draw)], 1)


def test_offsets_and_boxes() -> None:
    ours, theirs, priors = BoxCoder(WEIGHTS), TheirCoder(WEIGHTS), boxes(500, 1)
    assert torch.equal(ours.encode_single(boxes(500), priors), theirs.encode_single(boxes(500), priors))
    offsets = 30 * torch.randn(500, 4, generator=torch.Generator().manual_seed(2))  # some beyond the largest growth
    assert torch.equal(ours.decode_single(offsets, priors), theirs.decode_single(offsets, priors))


def test_priors_and_head() -> None:
    aspects, scales, image = [[2], [2, 3]], [0.1, 0.3, 0.7], torch.zeros(2, 3, 64, 64)
    maps = [torch.rand(2, 8, 8, 8), torch.rand(2, 16, 3, 5)]
    ours, theirs = DefaultBoxes(aspects, scales), DefaultBoxGenerator(aspects, scales=scales, clip=False)
    sizes = [(64, 64)] * 2
    expected = theirs(ImageList(image, sizes), maps)
    assert all(map(torch.equal, ours(Images(image, sizes), maps), expected)) and len(expected) == 2
    anchors = theirs.num_anchors_per_location()
    assert ours.num_anchors_per_location() == anchors
    torch.manual_seed(0)
    head = Head([8, 16], anchors, 4)
    torch.manual_seed(0)
    published = SSDHead([8, 16], anchors, 4)
    assert list(head.state_dict()) == list(published.state_dict())
    found, wanted = head(maps), published(maps)
    assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in found)


@pytest.mark.parametrize("count", [0, 1, 300, LARGE + 1])
def test_suppression(count: int) -> None:
    draw = torch.Generator().manual_seed(count)
    scores, labels = torch.rand(count, generator=draw), torch.randint(0, 3, (count,), generator=draw)
    kept = batched_nms(boxes(count), scores, labels, 0.5)
    assert torch.equal(kept, torchvision.ops.batched_nms(boxes(count), scores, labels, 0.5))
    assert len(kept) == count if count < 2 else 0 < len(kept) < count


def test_adamw_of_weights_of_which_one_has_no_gradient_at_first_and_resumed() -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)).to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    images = torch.rand(2, 3, 9, 9)
    optimizer = AdamW(list(ours.parameters()), 0.01, 0.1)
    published = torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.1, fused=True)
    for step in range(6):
        if step == 3:
            state = optimizer.state_dict()
            optimizer = AdamW(list(ours.parameters()), 0.01, 0.1)
            optimizer.load_state_dict(state)
        for network, one in ((ours, optimizer), (theirs, published)):
            one.param_groups[0]["lr"] = 0.01 / (step + 1)
            one.zero_grad()
            (network[0](images) if step < 2 else network(images)).square().sum().backward()
            one.step()
        assert all(map(torch.equal, ours.parameters(), theirs.parameters())), step


def test_training_and_looking_import_neither(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
import PIL.Image
from mgral.config.schema import Evaluation, Machine
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.detection import inference, training
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device

root = Path(sys.argv[1])
PIL.Image.new("RGB", (64, 64)).save(root / "1.png")
box = Boxes(np.array([[4, 4, 40, 40]], np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))
dataset = Dataset(("a",), {1: Image(1, "1.png", 64, 64, "train")}, {1: box}, root)
image_cache.build(dataset, 64, root / "images.npy")
cache = image_cache.Cache(dataset, root / "images.npy")
machine = prepare_device(Machine(device="cpu", threads=1, precision="fp32"))
detector = build_detector("tiny_ssd", ("a",), 64, {}, 0)
training.fit(detector, cache, [1], training.TrainingConfig(2, 2, 0.001, 0.0, 1, True), machine, 0)
limits = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=100)
seen = inference.run_inference(detector, cache, [1], limits, machine)
assert len(seen.detections[1])
print(*{"torch._dynamo", "torchvision"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
