"""The backbone of tiny_ssd."""

from __future__ import annotations

from torch import Tensor, nn

from mgral.detection.detectors._ssd import conv_bn

PRIORS = True


class Backbone(nn.Module):
    """Strided 3x3 convolutions; four maps at strides 8, 16, 32, 64."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 24, 2), conv_bn(24, 48, 2), conv_bn(48, 96, 2), conv_bn(96, 96))
        self.stage16 = nn.Sequential(conv_bn(96, 160, 2), conv_bn(160, 160))
        self.stage32 = conv_bn(160, 192, 2)
        self.stage64 = nn.Sequential(conv_bn(192, 96, kernel=1), conv_bn(96, 128, 2))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, S, S] in 0..1 to four maps [B, C, H, W], finest first."""
        stride8 = self.stem((images - 0.5).mul_(4))  # about zero mean and unit variance
        stride16 = self.stage16(stride8)
        stride32 = self.stage32(stride16)
        return [stride8, stride16, stride32, self.stage64(stride32)]
