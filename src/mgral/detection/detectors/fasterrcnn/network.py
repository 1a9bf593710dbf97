"""Faster R-CNN behind the contract of :mod:`mgral.detection.base`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import permute_and_flatten
from torchvision.ops import clip_boxes_to_image

from mgral.core.types import Activation
from mgral.detection.base import Detector, Prediction, RawOutput, Target
from mgral.detection.detectors._torchvision import Normalise, anchors_of


@dataclass(frozen=True)
class ProposalOutput(RawOutput):
    """What the first stage says of a batch; the second looks at the maps again.

    Attributes:
        objectness: [B, A] logits of A anchors.
        offsets: [B, A, 4] box offsets relative to the anchors.
        features: see :class:`mgral.detection.base.RawOutput`; the coarsest is the first stage's alone.
    """

    objectness: Tensor
    offsets: Tensor
    features: list[Tensor]


class Sampler:
    """Draws positives and negatives as torchvision's does, from a seed that the image's own matches make.

    So a loss depends on its image alone, and a run that resumes draws what it would have drawn.
    """

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction

    def __call__(self, matches: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of the positives and the negatives drawn of each image; of matches < 0 none is drawn."""
        drawn = [self._of_image(one) for one in matches]
        return [positive for positive, _ in drawn], [negative for _, negative in drawn]

    def _of_image(self, matches: Tensor) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(zlib.crc32(matches.cpu().numpy().tobytes()))
        positive, negative = torch.nonzero(matches >= 1)[:, 0], torch.nonzero(matches == 0)[:, 0]
        count = min(len(positive), int(self.batch_size_per_image * self.positive_fraction))
        masks = []
        for found, wanted in ((positive, count), (negative, self.batch_size_per_image - count)):
            chosen = torch.randperm(len(found), generator=generator)[:wanted].to(found.device)
            masks.append(torch.zeros_like(matches, dtype=torch.uint8).index_fill_(0, found[chosen], 1))
        return masks[0], masks[1]


class TwoStage(Detector):
    """Faster R-CNN; one softmax over background and classes of each proposal."""

    activation: Activation = "softmax"
    anchors: Tensor

    def __init__(self, num_classes: int, image_size: int, model: FasterRCNN) -> None:
        with torch.no_grad():
            found = model.backbone.eval()(torch.zeros(1, 3, image_size, image_size))
        maps = list(found.values())
        super().__init__(num_classes, image_size, maps)
        self.backbone = model.backbone.train()
        self.head = nn.ModuleDict({"rpn": model.rpn, "roi_heads": model.roi_heads})
        self.normalise = Normalise()
        for stage in (model.rpn, model.roi_heads):
            given = stage.fg_bg_sampler
            stage.fg_bg_sampler = Sampler(given.batch_size_per_image, given.positive_fraction)
        generator = model.rpn.anchor_generator
        self.register_buffer("anchors", anchors_of(generator, maps, image_size), persistent=False)
        counts = generator.num_anchors_per_location()
        self._names = list(found)
        self._level_sizes = [m.shape[2] * m.shape[3] * count for m, count in zip(maps, counts, strict=True)]

    @property
    def _rpn(self) -> Any:
        return self.head.get_submodule("rpn")

    @property
    def _roi_heads(self) -> Any:
        return self.head.get_submodule("roi_heads")

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images [B, 3, size, size] in [0, 1], one [B, 256, H, W] a level."""
        return list(self.backbone(self.normalise(images)).values())

    def answer(self, maps: list[Tensor]) -> ProposalOutput:
        """Objectness and box offsets of all anchors."""
        objectness, offsets = self._rpn.head(maps)
        return ProposalOutput(_by_anchor(objectness, 1)[..., 0], _by_anchor(offsets, 4), maps)

    def losses(self, raw: ProposalOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Of both stages: cross-entropies of objects and of classes; smooth L1 of proposals and of boxes."""
        rpn, roi_heads = self._rpn, self._roi_heads
        truth = [{"boxes": target.xyxy, "labels": target.labels + 1} for target in targets]
        anchors = [self.anchors] * len(truth)
        matches, matched = rpn.assign_targets_to_anchors(anchors, truth)
        wanted = rpn.box_coder.encode(matched, anchors)
        said = raw.objectness.float().flatten(), raw.offsets.float().flatten(0, 1)
        objects, proposed = rpn.compute_loss(*said, matches, wanted)
        proposals, _, classes, wanted = roi_heads.select_training_samples(self._proposals(raw), truth)
        logits, offsets = self._regions(raw.features, proposals)
        classified, located = fastrcnn_loss(logits, offsets, classes, wanted)
        return {"classification": objects + classified, "localisation": proposed + located}

    def predict(
        self, raw: ProposalOutput, score_threshold: float, nms_iou: float, max_detections: int, features: bool = False
    ) -> list[Prediction]:
        """See the contract. Each class of a proposal has a box of its own."""
        proposals = self._proposals(raw)
        counts = [len(found) for found in proposals]
        logits, offsets = self._regions(raw.features, proposals)
        decoded = self._roi_heads.box_coder.decode(offsets, proposals)  # [R, 1 + C, 4]
        decoded = clip_boxes_to_image(decoded, (self.image_size, self.image_size))

        def one(probs: Tensor, boxes: Tensor, finest: Tensor | None) -> Prediction:
            def of_class(regions: Tensor, labels: Tensor) -> Tensor:
                return boxes[regions, labels + 1]

            return self.suppress(probs, of_class, finest, score_threshold, nms_iou, max_detections)

        found = self.probabilities(logits).split(counts)
        return list(map(one, found, decoded.split(counts), raw.finest(features)))

    def _proposals(self, raw: ProposalOutput) -> list[Tensor]:
        """Boxes [R, 4] of each image that the second stage looks at, without gradient."""
        count = len(raw.objectness)
        offsets = raw.offsets.detach().float().flatten(0, 1)
        boxes = self._rpn.box_coder.decode(offsets, [self.anchors] * count).view(count, -1, 4)
        squares = [(self.image_size, self.image_size)] * count
        proposals: list[Tensor]
        proposals, _ = self._rpn.filter_proposals(boxes, raw.objectness.float(), squares, self._level_sizes)
        return proposals

    def _regions(self, features: list[Tensor], proposals: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits [R, 1 + C] and box offsets [R, 4 · (1 + C)] of all proposals of a batch, end to end."""
        heads = self._roi_heads
        maps = {name: one.float() for name, one in zip(self._names, features, strict=True)}
        squares = [(self.image_size, self.image_size)] * len(proposals)
        logits, offsets = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, squares)))
        return logits, offsets


def _by_anchor(maps: list[Tensor], width: int) -> Tensor:
    """Maps [B, A_l · width, H, W] to [B, A, width], by map, row, column and anchor of a cell."""
    return torch.cat(
        [permute_and_flatten(m, len(m), m.shape[1] // width, width, m.shape[2], m.shape[3]) for m in maps], 1
    )
