"""RetinaNet behind the contract of :mod:`mgral.detection.base`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher, _box_loss
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.ops import box_iou, sigmoid_focal_loss

from mgral.core.types import Activation
from mgral.detection.base import Target
from mgral.detection.detectors._torchvision import Normalise, anchors_of, check_maps
from mgral.detection.priors import PriorDetector, PriorOutput


class RetinaNet(PriorDetector):
    """RetinaNet; one sigmoid per class, focal loss.

    Raises:
        MgralError: the image is so small that two maps have one cell.
    """

    activation: Activation = "sigmoid"

    def __init__(self, num_classes: int, image_size: int, model: TorchvisionRetinaNet) -> None:
        with torch.no_grad():
            maps = list(model.backbone.eval()(torch.zeros(1, 3, image_size, image_size)).values())
        check_maps(maps, image_size, "retinanet")
        priors = anchors_of(model.anchor_generator, maps, image_size)
        anchors = model.anchor_generator.num_anchors_per_location()
        super().__init__(num_classes, image_size, priors, maps, anchors, BoxCoder((1.0, 1.0, 1.0, 1.0)))
        self.backbone = model.backbone.train()
        self.head = model.head
        self._box_loss = model.head.regression_head._loss_type
        self._matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.normalise = Normalise()

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images [B, 3, size, size] in [0, 1], one [B, C, H, W] a level."""
        return list(self.backbone(self.normalise(images)).values())

    def answer(self, maps: list[Tensor]) -> PriorOutput:
        """Class logits [B, P, n] and box offsets [B, P, 4] of all priors."""
        out = self.head(maps)
        return PriorOutput(out["cls_logits"], out["bbox_regression"], maps)

    def classifier(self) -> nn.Module:
        """The part of the head that classifies."""
        return self.head.get_submodule("classification_head")

    def losses(self, raw: PriorOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss (gamma 2, alpha 0.25) and the head's loss of boxes (L1, in v2 GIoU).

        Each is over an image's positives, and averaged over images.
        """
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
            boxes = target.xyxy[matched[positive]]
            loss = _box_loss(self._box_loss, self.coder, self.priors[positive], boxes, offsets[positive])
            localisation.append(loss / count)
        return {
            "classification": torch.stack(classification).mean(),
            "localisation": torch.stack(localisation).mean(),
        }
