"""nano_ssd: an SSD on six strided convolutions, for tests and very small images."""

from __future__ import annotations

from collections.abc import Sequence

from mgral.core.types import Activation
from mgral.detection.detectors._four_maps import FourMaps


class Options(FourMaps):
    """Options of nano_ssd: those of every SSD on four maps."""


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options):
    """A new network with initial weights; the caller has set the seed. Torch is imported here, when it is needed."""
    from torch import Tensor, nn

    from mgral.detection.detectors._ssd import SSD, conv_bn

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(conv_bn(3, 16, 2), conv_bn(16, 32, 2), conv_bn(32, 64, 2))
            self.coarser = nn.ModuleList([conv_bn(64, 96, 2), conv_bn(96, 96, 2), conv_bn(96, 96, 2)])

        def forward(self, images: Tensor) -> list[Tensor]:
            """Images [B, 3, S, S], RGB in 0..1, to maps at strides 8, 16, 32 and 64, finest first."""
            maps = [self.stem((images - 0.5) * 4)]
            for layer in self.coarser:
                maps.append(layer(maps[-1]))
            return maps

    return SSD(len(classes), image_size, Backbone(), options.priors())
