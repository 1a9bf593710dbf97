"""RetinaNet behind the contract of :mod:`mgral.detection.base`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.ops import box_iou, sigmoid_focal_loss

from mgral.core.errors import MgralError
from mgral.core.types import Activation
from mgral.detection.base import Detector, RawOutput, Target


class RetinaNet(Detector):
    """RetinaNet; one sigmoid per class, focal loss.

    Two maps of one cell are refused since the second sees no more than the first; besides, torch 2.15 in bfloat16 on a
    CPU gets the gradient of the convolution between such maps wrong.

    Raises:
        MgralError: the image is so small that two maps have one cell.
    """

    activation: Activation = "sigmoid"
    mean: Tensor
    std: Tensor

    def __init__(self, num_classes: int, image_size: int, model: TorchvisionRetinaNet) -> None:
        image = torch.zeros(1, 3, image_size, image_size)
        with torch.no_grad():
            maps = list(model.backbone.eval()(image).values())
        if sum(features[0, 0].numel() == 1 for features in maps) > 1:
            raise MgralError(
                f"image_size: at {image_size} pixels retinanet's coarsest maps shrink to one cell; set one above 64"
            )
        priors = model.anchor_generator(ImageList(image, [(image_size, image_size)]), maps)[0]
        anchors = model.anchor_generator.num_anchors_per_location()
        super().__init__(num_classes, image_size, priors, maps, anchors, BoxCoder((1.0, 1.0, 1.0, 1.0)))
        self.backbone = model.backbone.train()
        self.head = model.head
        self._matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images [B, 3, size, size] in [0, 1], one [B, C, H, W] a level."""
        return list(self.backbone((images - self.mean) / self.std).values())

    def answer(self, maps: list[Tensor]) -> RawOutput:
        """Class logits [B, P, n] and box offsets [B, P, 4] of all priors."""
        out = self.head(maps)
        return RawOutput(out["cls_logits"], out["bbox_regression"], maps)

    def classifier(self) -> nn.Module:
        """The part of the head that classifies."""
        return self.head.get_submodule("classification_head")

    def losses(self, raw: RawOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss (gamma 2, alpha 0.25) and L1, each over an image's positives, averaged over images."""
        classification, localisation = [], []
        for logits, offsets, target in zip(raw.logits.float(), raw.offsets.float(), targets, strict=True):
            if len(target.labels):
                matched = self._matcher(box_iou(target.xyxy, self.priors))
            else:
                matched = torch.full((len(self.priors),), Matcher.BELOW_LOW_THRESHOLD, device=logits.device)
            positive = matched >= 0
            wanted = torch.zeros_like(logits)
            wanted[positive, target.labels[matched[positive]]] = 1.0
            used = matched != Matcher.BETWEEN_THRESHOLDS
            count = positive.sum().clamp(min=1)
            classification.append(sigmoid_focal_loss(logits[used], wanted[used], reduction="sum") / count)
            boxes = self.coder.encode_single(target.xyxy[matched[positive]], self.priors[positive])
            localisation.append(F.l1_loss(offsets[positive], boxes, reduction="sum") / count)
        return {
            "classification": torch.stack(classification).mean(),
            "localisation": torch.stack(localisation).mean(),
        }
