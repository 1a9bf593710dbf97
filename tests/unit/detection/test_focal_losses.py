"""RetinaNet's losses of a batch at once, against torchvision's focal loss and losses of boxes image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import Matcher, _box_loss
from torchvision.ops import box_iou, sigmoid_focal_loss

from mgral.detection.base import Target, build_detector
from mgral.detection.detectors.retinanet.network import RetinaNet
from mgral.detection.priors import PriorOutput

CLASSES = ("a", "b", "c")
LOSSES = {"retinanet": "l1", "retinanet_v2": "giou"}


def one_by_one(detector: RetinaNet, raw: PriorOutput, targets: list[Target], kind: str) -> dict[str, torch.Tensor]:
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    classification, localisation = [], []
    for logits, offsets, target in zip(raw.logits, raw.offsets, targets, strict=True):
        matched = torch.full((len(detector.priors),), -1)
        if len(target.labels):
            matched = matcher(box_iou(target.xyxy, detector.priors))
        positive, used = matched >= 0, matched != -2
        wanted = torch.zeros_like(logits)
        wanted[positive, target.labels[matched[positive]]] = 1.0
        count = positive.sum().clamp(min=1)
        classification.append(sigmoid_focal_loss(logits[used], wanted[used], reduction="sum") / count)
        boxes = target.xyxy[matched[positive]]
        loss = _box_loss(kind, detector.coder, detector.priors[positive], boxes, offsets[positive])
        localisation.append(loss / count)
    parts = {"classification": classification, "localisation": localisation}
    return {name: torch.stack(some).mean() for name, some in parts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_as_its_images_one_by_one(name: str) -> None:
    """Values and gradients; images without a box, logits up to ±30, boxes so small that only the best prior says them.

    The gradient of GIoU at chance is small against that of the classes; so each is compared to its own size.
    """
    detector = build_detector(name, CLASSES, 192, {}, 0)
    assert isinstance(detector, RetinaNet)
    draw = torch.Generator().manual_seed(0)
    priors = len(detector.priors)
    targets = []
    for count in (3, 0, 8, 1):
        corner = torch.rand(count, 2, generator=draw) * 120
        xyxy = torch.cat([corner, corner + 3 + torch.rand(count, 2, generator=draw) * 65], 1)
        targets.append(Target(xyxy, torch.randint(0, 3, (count,), generator=draw)))
    logits = (4 * torch.randn(len(targets), priors, 3, generator=draw)).clamp(-30, 30)
    offsets = torch.randn(len(targets), priors, 4, generator=draw)
    found = []
    for batch in (True, False):
        raw = PriorOutput(logits.clone().requires_grad_(), offsets.clone().requires_grad_(), [])
        losses = detector.losses(raw, targets) if batch else one_by_one(detector, raw, targets, LOSSES[name])
        sum(losses.values()).backward()  # type: ignore[union-attr]
        found.append((losses, raw.logits.grad, raw.offsets.grad))
    ours, theirs = found
    for part in ("classification", "localisation"):
        torch.testing.assert_close(ours[0][part], theirs[0][part], rtol=1e-5, atol=0)
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert mine is not None and other is not None and other.any()
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6 * float(other.abs().max()))


def test_no_box_in_any_image() -> None:
    detector = build_detector("retinanet", CLASSES, 192, {}, 0)
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    raw = PriorOutput(torch.zeros(2, len(detector.priors), 3), torch.ones(2, len(detector.priors), 4), [])  # type: ignore[arg-type]
    losses = detector.losses(raw, [nothing, nothing])
    # 0.75 · 0.5² · ln 2 for each prior and class
    assert losses["classification"].item() == pytest.approx(3 * len(detector.priors) * 0.1875 * 0.693147, rel=1e-5)  # type: ignore[arg-type]
    assert losses["localisation"].item() == 0
