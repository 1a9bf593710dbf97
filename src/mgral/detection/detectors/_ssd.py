"""What the SSD family shares: priors, matching, MultiBox loss (Liu et al. 2016, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSDHead

from mgral.core.types import Activation
from mgral.detection.base import Target
from mgral.detection.priors import PriorDetector, PriorOutput, overlaps

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
        that overlaps it most, the last box of an image first. Of equal overlaps the first counts.
        """
        counts, priors = torch.tensor([len(target.labels) for target in targets]), len(self.priors)
        xyxy, labels = (torch.cat([getattr(t, name) for t in targets]) for name in ("xyxy", "labels"))
        classes = torch.zeros(len(targets), priors, dtype=torch.int64, device=self.priors.device)
        wanted = self.priors.expand(len(targets), -1, -1).clone()
        if not len(xyxy):
            return classes, wanted
        boxes = torch.arange(len(xyxy), device=xyxy.device)
        start = torch.repeat_interleave(priors * torch.arange(len(targets)), counts).to(xyxy.device)  # of its image
        overlap = overlaps(xyxy, self.priors)  # [n, P]
        said = torch.full((classes.numel(),), len(xyxy), device=xyxy.device)  # which of all boxes; n: none

        box, prior = (overlap >= MATCHED).nonzero(as_tuple=True)
        place, value = start[box] + prior, overlap[box, prior]
        largest = overlap.new_zeros(len(said)).scatter_reduce_(0, place, value, "amax")
        best = value == largest[place]
        said.scatter_reduce_(0, place[best], box[best], "amin")

        nearest = start + overlap.max(dim=1).indices
        said.scatter_(0, nearest, -1).scatter_reduce_(0, nearest, boxes, "amax")
        positive = (said < len(xyxy)).nonzero().squeeze(1)
        said = said[positive]
        classes.view(-1)[positive] = labels[said] + 1
        wanted.view(-1, 4)[positive] = xyxy[said]
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
