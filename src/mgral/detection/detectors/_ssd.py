"""What the SSD family shares: priors, matching, MultiBox loss (Liu et al. 2016, section 2.2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSDHead
from torchvision.ops import box_iou

from mgral.core.types import Activation
from mgral.detection.base import Target
from mgral.detection.priors import PriorDetector, PriorOutput

NEGATIVES_PER_POSITIVE = 3
MATCHED = 0.5  # least overlap (IoU) of a prior and a box that it should say


class SSD(PriorDetector):
    """An SSD over any backbone.

    Args:
        backbone: images [B, 3, S, S] in 0..1 to a list of feature maps, finest first.
        generator: priors; torchvision's.
        head: makes the head from the channels of each map, the priors per cell and the classes with background.
    """

    activation: Activation = "softmax"

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        backbone: nn.Module,
        generator: DefaultBoxGenerator,
        head: Callable[[list[int], list[int], int], nn.Module] = SSDHead,
    ) -> None:
        image = torch.zeros(1, 3, image_size, image_size)
        with torch.no_grad():
            maps = backbone.eval()(image)
        priors = generator(ImageList(image, [(image_size, image_size)]), list(maps))[0]
        anchors = generator.num_anchors_per_location()
        super().__init__(num_classes, image_size, priors, maps, anchors, BoxCoder((10.0, 10.0, 5.0, 5.0)))
        self.trunk = backbone.train()  # as weight files call it
        self.head = head([m.shape[1] for m in maps], anchors, num_classes + 1)

    def maps(self, images: Tensor) -> list[Tensor]:
        return list(self.trunk(images))

    def answer(self, maps: list[Tensor]) -> PriorOutput:
        out = self.head(maps)
        return PriorOutput(out["cls_logits"], out["bbox_regression"], maps)

    def classifier(self) -> nn.Module:
        return self.head.get_submodule("classification_head")

    def match(self, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
        """Class [B, P] (0 background, k + 1 class k) and box [B, P, 4] that each prior of each image should say.

        A prior says the box of its image that it overlaps most, at least by half; and each box is said by the prior
        that overlaps it most, the last box of an image first. The overlaps of all images are computed in one call.
        """
        counts, priors = [len(target.labels) for target in targets], len(self.priors)
        said = torch.full((len(targets), priors), -1, device=self.priors.device)  # which of all boxes, or none
        xyxy = torch.cat([target.xyxy for target in targets])
        if len(xyxy):
            overlap = box_iou(xyxy, self.priors)  # [boxes, P]
            ends = list(itertools.accumulate(counts))
            for image, (count, end) in enumerate(zip(counts, ends, strict=True)):
                if count:
                    best, index = overlap[end - count : end].max(dim=0)
                    said[image] = torch.where(best >= MATCHED, index + (end - count), -1)
            images = torch.repeat_interleave(torch.tensor(counts, device=said.device))
            nearest = images * priors + overlap.max(dim=1).indices
            flat = said.view(-1).scatter(0, nearest, -1)
            boxes = torch.arange(len(xyxy), device=said.device)
            said = flat.scatter_reduce(0, nearest, boxes, "amax").view_as(said)
        positive = said >= 0
        classes = torch.zeros_like(said)
        classes[positive] = torch.cat([target.labels for target in targets])[said[positive]] + 1
        wanted = self.priors.expand(len(targets), -1, -1).clone()
        wanted[positive] = xyxy[said[positive]]
        return classes, wanted

    def losses(self, raw: PriorOutput, targets: Sequence[Target]) -> dict[str, Tensor]:
        """MultiBox loss: cross-entropy with 3:1 hard negatives and smooth L1, over the number of positives."""
        classes, boxes = self.match(targets)
        positive = classes > 0
        count = positive.sum().clamp(min=1)

        wanted = self.coder.encode_single(boxes[positive], self.priors.expand_as(boxes)[positive])
        localisation = F.smooth_l1_loss(raw.offsets.float()[positive], wanted, reduction="sum") / count

        entropy = F.cross_entropy(raw.logits.float().transpose(1, 2), classes, reduction="none")  # [B, P]
        with torch.no_grad():
            quota = NEGATIVES_PER_POSITIVE * positive.sum(1, keepdim=True).clamp(min=1)
            negative = hardest(entropy.masked_fill(positive, -1.0), quota) & ~positive
        classification = entropy[positive | negative].sum() / count
        return {"classification": classification, "localisation": localisation}


def hardest(values: Tensor, quota: Tensor) -> Tensor:
    """Which are the ``quota`` [B, 1] largest of each row of values [B, P]; of equals the first. Sorts none of them."""
    quota = quota.clamp(max=values.shape[1])
    last = values.topk(int(quota.max()), dim=1).values.gather(1, quota - 1)
    larger, equal = ~(values <= last), values == last  # what is not a number counts as larger, and ends the training
    return larger | (equal & (equal.cumsum(1) <= quota - larger.sum(1, keepdim=True)))


def conv_bn(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
