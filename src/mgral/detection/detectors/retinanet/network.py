"""RetinaNet behind the contract of :mod:`mgral.detection.base`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.ops import generalized_box_iou_loss

from mgral.core.types import Activation
from mgral.detection.base import Target
from mgral.detection.detectors._torchvision import Normalise, anchors_of, check_maps
from mgral.detection.priors import PriorDetector, PriorOutput, overlaps

OBJECT = 0.25  # weight of an object in the focal loss, alpha; the rest is that of the background


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
        self._by_overlap = model.head.regression_head._loss_type == "giou"
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

    def match(self, target: Target) -> Tensor:
        """[P] which box of an image each prior should say, or :class:`Matcher`'s numbers for none and undecided.

        Image by image: the overlaps of a batch's boxes with all priors may be gigabytes.
        """
        if len(target.labels):
            matched: Tensor = self._matcher(overlaps(target.xyxy, self.priors))
            return matched
        return torch.full((len(self.priors),), Matcher.BELOW_LOW_THRESHOLD, device=self.priors.device)

    def losses(self, raw: PriorOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss (gamma 2, alpha 0.25) and the head's loss of boxes (L1, in v2 GIoU).

        Each is over an image's positives, and averaged over images. All priors and classes are taken for background in
        one pass over the batch, and the few (prior, class) pairs of objects put right afterwards.
        """
        matched = torch.stack([self.match(target) for target in targets])  # [B, P]
        image, prior = torch.nonzero(matched >= 0, as_tuple=True)
        counts = (matched >= 0).sum(1).clamp(min=1)  # [B]
        starts = torch.tensor([0, *(len(target.labels) for target in targets)], device=matched.device).cumsum(0)
        box = matched[image, prior] + starts[image]  # of all boxes of the batch
        xyxy, labels = (torch.cat([getattr(target, key) for target in targets])[box] for key in ("xyxy", "labels"))

        logits = raw.logits.float()
        undecided = matched == Matcher.BETWEEN_THRESHOLDS
        background = _background(logits).sum(2).masked_fill(undecided, 0).sum(1) / counts
        said = logits[image, prior, labels]
        objects = OBJECT * F.softplus(-said) * torch.sigmoid(-said) ** 2 - _background(said)
        wrong = self._box_losses(raw.offsets[image, prior].float(), xyxy, self.priors[prior])
        return {
            "classification": background.mean() + (objects / counts[image]).sum() / len(targets),
            "localisation": (wrong / counts[image]).sum() / len(targets),
        }

    def _box_losses(self, offsets: Tensor, boxes: Tensor, priors: Tensor) -> Tensor:
        """[n] of as many priors [n, 4]."""
        if self._by_overlap:
            losses: Tensor = generalized_box_iou_loss(self.coder.decode_single(offsets, priors), boxes)
            return losses
        wanted: Tensor = self.coder.encode_single(boxes, priors)
        return (offsets - wanted).abs().sum(1)


def _background(logits: Tensor) -> Tensor:
    """Focal loss of logits that should say no: (1 - alpha) p² (-log(1 - p))."""
    return (1 - OBJECT) * F.softplus(logits) * torch.sigmoid(logits) ** 2
