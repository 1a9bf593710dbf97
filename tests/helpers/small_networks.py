"""Smaller networks in place of those that torchvision's detectors stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torchvision.models import resnet18
from torchvision.models.detection import faster_rcnn, fcos, retinanet


@contextmanager
def on_resnet18() -> Iterator[None]:
    """Put torchvision's detectors on a ResNet-18, for what is not about the ResNet-50 that they stand on.

    The contract of detectors has RetinaNet as it is.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (faster_rcnn, fcos, retinanet):
            patch.setattr(module, "resnet50", resnet18)
        yield
