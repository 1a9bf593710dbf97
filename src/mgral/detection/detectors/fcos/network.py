"""FCOS behind the contract of :mod:`mgral.detection.base`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import FCOS
from torchvision.ops import clip_boxes_to_image

from mgral.core.types import Activation
from mgral.detection.base import Detector, Prediction, RawOutput, Target
from mgral.detection.detectors._torchvision import Normalise, anchors_of, check_maps


@dataclass(frozen=True)
class PointOutput(RawOutput):
    """What FCOS says of a batch.

    Attributes:
        logits: [B, P, C] of the classes at P points.
        distances: [B, P, 4] from a point to the left, upper, right and lower side of its box, in strides of its map;
            not negative.
        centreness: [B, P, 1] logits.
        features: see :class:`mgral.detection.base.RawOutput`.
    """

    logits: Tensor
    distances: Tensor
    centreness: Tensor
    features: list[Tensor]


class PointDetector(Detector):
    """FCOS; one sigmoid per class, focal loss, GIoU.

    torchvision's distances pass a ReLU, and start around 0: half of them at exactly 0, where they get no gradient. A
    network from scratch soon drives the others there, and all boxes are then without width for good. Here the bias
    starts at 1, a box of two strides, so that every distance can learn in both directions.

    Raises:
        MgralError: the image is so small that two maps have one cell.
    """

    activation: Activation = "sigmoid"
    points: Tensor

    def __init__(self, num_classes: int, image_size: int, model: FCOS) -> None:
        with torch.no_grad():
            maps = list(model.backbone.eval()(torch.zeros(1, 3, image_size, image_size)).values())
        check_maps(maps, image_size, "fcos")
        super().__init__(num_classes, image_size, maps)
        self.backbone = model.backbone.train()
        self.head = model.head
        self.normalise = Normalise()
        self.register_buffer("points", anchors_of(model.anchor_generator, maps, image_size), persistent=False)
        self._level_sizes = [features[0, 0].numel() for features in maps]
        self._matching = [model]  # in a list: its weights are those above, and count once

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images [B, 3, size, size] in [0, 1], one [B, 256, H, W] a level."""
        return list(self.backbone(self.normalise(images)).values())

    def answer(self, maps: list[Tensor]) -> PointOutput:
        """Class logits, distances and centre-ness of all points."""
        out = self.head(maps)
        return PointOutput(out["cls_logits"], out["bbox_regression"], out["bbox_ctrness"], maps)

    def losses(self, raw: PointOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Focal loss; GIoU and the cross-entropy of the centre-ness. All over the number of positive points."""
        said = {"cls_logits": raw.logits, "bbox_regression": raw.distances, "bbox_ctrness": raw.centreness}
        said = {name: values.float() for name, values in said.items()}
        truth = [{"boxes": target.xyxy, "labels": target.labels} for target in targets]
        parts = self._matching[0].compute_loss(truth, said, [self.points] * len(truth), self._level_sizes)
        localisation = parts["bbox_regression"] + parts["bbox_ctrness"]
        return {"classification": parts["classification"], "localisation": localisation}

    def predict(
        self, raw: PointOutput, score_threshold: float, nms_iou: float, max_detections: int, features: bool = False
    ) -> list[Prediction]:
        """See the contract. A class's probability is √(its sigmoid · that of the centre-ness), as ranked."""
        likely = (self.probabilities(raw.logits) * raw.centreness.float().sigmoid()).sqrt()
        square = (self.image_size, self.image_size)

        def one(probs: Tensor, distances: Tensor, finest: Tensor | None) -> Prediction:
            def boxes(points: Tensor, _labels: Tensor) -> Tensor:
                decoded = self._matching[0].box_coder.decode(distances[points].float(), self.points[points])
                clipped: Tensor = clip_boxes_to_image(decoded, square)
                return clipped

            return self.suppress(probs, boxes, finest, score_threshold, nms_iou, max_detections)

        return list(map(one, likely, raw.distances, raw.finest(features)))
