"""tiny_ssd: an SSD of about one million parameters, trained from scratch on a processor in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mgral.core.types import Activation
from mgral.detection.detectors._four_maps import FourMaps

if TYPE_CHECKING:
    from mgral.detection.detectors._ssd import SSD


class Options(FourMaps):
    """Options of tiny_ssd."""


def activation(options: Options) -> Activation:
    """One softmax over background and classes."""
    return "softmax"


def build(classes: Sequence[str], image_size: int, options: Options) -> SSD:
    """A tiny SSD; priors of aspect 1, 2 and (in the middle) 3."""
    from mgral.detection.detectors._ssd import SSD
    from mgral.detection.detectors.tiny_ssd.network import Backbone

    return SSD(len(classes), image_size, Backbone(), options.priors())
