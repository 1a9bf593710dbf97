"""Weights of mmdet's detectors start torchvision's: the same maps and towers come out. Runs where mmdet is, as
tests/contract/in_mmdet.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mgral.detection.base import build_detector
from mgral.detection.detectors import mmdet

pytest.importorskip("mmdet", reason="mmdet is not in this environment; `make env-mmdet` builds its own")

CONFIGS = {
    "fasterrcnn": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "fcos": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
}
LEVELS = {"fasterrcnn": 4, "retinanet": 3, "fcos": 3}  # those of the FPN that both make alike
SIZE = 128


def published(name):
    """mmdet's model, with batch norms as a training leaves them."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    config = Config.fromfile(mmdet._find(CONFIGS[name]))
    config.merge_from_dict({"model.backbone.style": "pytorch"})
    config.model.pop("data_preprocessor")
    model = MODELS.build(mmdet._local(config.model))
    model.init_weights()
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
            layer.weight.data.uniform_(0.5, 1.0, generator=generator)
            layer.bias.data.uniform_(-0.1, 0.1, generator=generator)
    return model.eval()


@pytest.fixture(scope="module", params=list(CONFIGS))
def pair(request, tmp_path_factory):
    model = published(request.param)
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save({"meta": {"epoch": 12}, "state_dict": model.state_dict()}, path)
    detector = build_detector(request.param, ("a", "b"), SIZE, {"weights": str(path)}, 0)
    return request.param, model, detector.eval()


def test_the_maps_are_those_of_mmdet(pair):
    name, model, detector = pair
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model.extract_feat(detector.normalise(image))
        found = detector.maps(image)
    for one, other in zip(found[: LEVELS[name]], wanted, strict=False):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_the_layers_that_heads_share_are_those_of_mmdet(pair):
    name, model, detector = pair
    features = torch.rand(1, 256, 8, 8, generator=torch.Generator().manual_seed(2))
    if name == "fasterrcnn":
        layers = [(model.rpn_head.rpn_conv, detector.head["rpn"].head.conv[0][0])]
        shared = model.roi_head.bbox_head.shared_fcs
        box_head = detector.head["roi_heads"].box_head
        assert torch.equal(shared[0].weight, box_head.fc6.weight) and torch.equal(shared[1].bias, box_head.fc7.bias)
    else:
        head = detector.head
        layers = [
            (nn.Sequential(*model.bbox_head.cls_convs), head.classification_head.conv),
            (nn.Sequential(*model.bbox_head.reg_convs), head.regression_head.conv),
        ]
    with torch.no_grad():
        for theirs, ours in layers:
            torch.testing.assert_close(ours(features), theirs(features), rtol=1e-3, atol=1e-3)
