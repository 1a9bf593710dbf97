"""Initial weights of torchvision's detectors, from files of torchvision, timm and mmdet: what goes where."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_networks import on_resnet18
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large, resnet18, resnet34, resnet50, resnext50_32x4d
from torchvision.models.detection import (
    fasterrcnn_resnet50_fpn,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
    retinanet_resnet50_fpn_v2,
    ssdlite320_mobilenet_v3_large,
)

from mgral.core.errors import MgralError
from mgral.detection.base import Detector, build_detector

pytestmark = pytest.mark.slow

CLASSES = ("a", "b", "c")
SIZES = {"ssdlite": 320}
SMALL = {"fasterrcnn": {"backbone": "resnet18"}, "fcos": {"backbone": "resnet18"}}  # as on_resnet18 has torchvision's
State = dict[str, Tensor]
NEW: dict[str, Callable[..., nn.Module]] = {
    "fasterrcnn": fasterrcnn_resnet50_fpn,
    "fcos": fcos_resnet50_fpn,
    "retinanet": retinanet_resnet50_fpn,
    "retinanet_v2": retinanet_resnet50_fpn_v2,
    "ssdlite": ssdlite320_mobilenet_v3_large,
}


def drawn(make: Callable[..., nn.Module], **options: Any) -> State:
    """The tensors of a network that this makes, none of them as any network is initialised, which is left out."""
    with torch.device("meta"):
        network = make(**options)
    return stirred(network)


def stirred(network: nn.Module, seed: int = 0) -> State:
    """Tensors as a network has them, none of them as any network is initialised."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    return {name: 0.5 + 0.1 * torch.rand(value.shape, generator=generator) for name, value in state.items()}


def loaded(name: str, state: State, folder: Path, caplog: pytest.LogCaptureFixture, **options: Any) -> tuple[Any, str]:
    """A detector that took a file, and the line of the log that says what fitted."""
    save_file(state, folder / "w.safetensors")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        given = {"weights": str(folder / "w.safetensors"), **options}
        detector = build_detector(name, CLASSES, SIZES.get(name, 128), given, 0)
    (report,) = [one.getMessage() for one in caplog.records if "tensors of" in one.getMessage()]
    return detector, report


def body_of(detector: Detector) -> State:
    return detector.get_submodule("backbone.body").state_dict()


def equal(found: State, wanted: State) -> bool:
    return bool(wanted) and all(torch.equal(found[name], value) for name, value in wanted.items())


def without_classes(state: State) -> State:
    """What does not depend on the number of classes."""
    return {n: v for n, v in state.items() if not re.search(r"cls_|bbox_pred|classification_head\.module_list", n)}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        *(("fasterrcnn", source) for source in ("torchvision", "timm", "mmdet", "parallel")),
        *(("fcos", source) for source in ("torchvision", "mmdet")),
        *(("retinanet_v2", source) for source in ("torchvision", "timm")),
    ],
)
def test_a_resnet_alone_goes_into_the_backbone(
    name: str, source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    depth = "resnet50" if name == "retinanet_v2" else "resnet18"
    torchvision = {"resnet18": resnet18, "resnet50": resnet50}[depth]
    wanted = drawn(timm.create_model, model_name=depth) if source == "timm" else drawn(torchvision)
    before = {"mmdet": "backbone.", "parallel": "module."}.get(source, "")
    options = {} if name == "retinanet_v2" else {"backbone": depth}
    state = {before + n: value for n, value in wanted.items()}
    detector, report = loaded(name, state, tmp_path, caplog, **options)
    wanted = {n: v for n, v in wanted.items() if not n.startswith("fc.")}
    assert equal(body_of(detector), wanted)
    assert f"weights for {len(wanted)} of {len(wanted)} tensors of torchvision's {depth}; complete; 2 tensors" in report


@pytest.mark.parametrize("name", list(NEW))
def test_a_whole_detector_of_torchvision_fits_but_for_its_classes(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.nullcontext() if name == "retinanet_v2" else on_resnet18():  # whose P6 is made of ResNet-50's C5
        wanted = drawn(NEW[name], weights=None, weights_backbone=None, num_classes=7)
        detector, report = loaded(name, wanted, tmp_path, caplog, **SMALL.get(name, {}))
    shared = without_classes({n: v for n, v in wanted.items() if not n.startswith(("rpn.", "roi_heads."))})
    found = {n.replace("trunk.extractor.", "backbone."): value for n, value in detector.state_dict().items()}
    assert equal(found, shared)
    if name == "fasterrcnn":
        assert equal(detector.head.state_dict(), without_classes({n: v for n, v in wanted.items() if "head." in n}))
        # the first stage has no classes; two of the second's four layers do, each a weight and a bias
        assert "backbone.body 100 of 100, backbone.fpn 16 of 16, rpn 6 of 6, roi_heads 4 of 8); 4 stay" in report


def earlier(state: State) -> State:
    """The tensors by the names that torchvision's published files have."""
    names = {}
    for name in state:
        old = re.sub(r"((?:inner|layer)_blocks\.\d)\.0\.", r"\1.", name)
        old = old.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        names[name] = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", old)
    return {names[name]: value for name, value in state.items()}


@pytest.mark.parametrize("name", ["fasterrcnn", "retinanet"])
def test_published_files_have_earlier_names(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """torchvision itself renames them as it loads; where they went decides its own loading."""
    with on_resnet18():
        with torch.device("meta"):
            model = NEW[name](weights=None, weights_backbone=None, num_classes=7)
        state = earlier(stirred(model))
        detector, _ = loaded(name, state, tmp_path, caplog, **SMALL.get(name, {}))
    assert len(state.keys() - model.state_dict().keys()) >= 16
    model.load_state_dict(state, strict=True, assign=True)
    loaded_there = {n: v for n, v in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    found = {f"head.{n}" if name == "retinanet" else n: v for n, v in detector.head.state_dict().items()}
    found |= {f"backbone.{n}": v for n, v in detector.get_submodule("backbone").state_dict().items()}
    assert equal(found, without_classes(loaded_there))


def test_a_backbone_with_fpn_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = drawn(NEW["fcos"], weights=None, weights_backbone=None)
    wanted = {n.removeprefix("backbone."): value for n, value in whole.items() if n.startswith("backbone.")}
    detector, report = loaded("fcos", wanted, tmp_path, caplog)
    assert equal(detector.get_submodule("backbone").state_dict(), wanted)
    assert re.search(r"backbone\.body 265 of 265, backbone\.fpn 16 of 16, head 0 of \d+\)", report)


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_ssdlite_takes_mobilenet_of_imagenet(source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(3)
    whole = mobilenet_v3_large() if source == "torchvision" else timm.create_model("mobilenetv3_large_100")
    state = {n: v for n, v in whole.state_dict().items() if not n.endswith("num_batches_tracked")}
    state = {n: v + 0.1 * torch.rand_like(v) for n, v in state.items()}  # batch norms too
    whole.load_state_dict(state, strict=False)
    detector, report = loaded("ssdlite", state, tmp_path, caplog, reduced_tail=False)
    assert "weights for 262 of 262 tensors of the backbone mobilenet_v3_large; complete; 4 tensors" in report
    for layer in [*whole.modules(), *detector.modules()]:
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.001  # timm's is smaller, which is no weight
    image = torch.rand(1, 3, 320, 320)
    features = detector.eval().get_submodule("trunk.extractor.features")
    with torch.inference_mode():
        if source == "torchvision":
            wanted = whole.eval().get_submodule("features")(image)
        else:
            stem = whole.eval()
            wanted = stem.get_submodule("blocks")(stem.get_submodule("bn1")(stem.get_submodule("conv_stem")(image)))
        torch.testing.assert_close(features(image), wanted, rtol=1e-4, atol=1e-4)


def test_a_reduced_tail_says_what_did_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = drawn(mobilenet_v3_large)
    _, report = loaded("ssdlite", whole, tmp_path, caplog)
    found = re.search(r"weights for (\d+) of 262 tensors of the backbone mobilenet_v3_large; (\d+) stay", report)
    reduced = drawn(mobilenet_v3_large, reduced_tail=True)
    fits = [n for n, v in whole.items() if n.startswith("features") and v.shape == reduced[n].shape]
    assert found is not None and int(found[1]) == len(fits) == 262 - int(found[2]) < 262


@pytest.mark.parametrize("name", ["fasterrcnn", "fcos", "retinanet_v2", "ssdlite"])
def test_the_backbone_of_another_detector_is_refused(name: str, real_data: Callable[[str], Path]) -> None:
    """A real file, of MobileNetV1, which `ssd` takes."""
    path = real_data("backbones") / "mobilenetv1_100.imagenet.safetensors"
    with pytest.raises(MgralError, match=r"^\S+mobilenetv1_100\.imagenet\.safetensors: fits \d+ of \d+ tensors of "):
        build_detector(name, CLASSES, SIZES.get(name, 128), {"weights": str(path)}, 0)


@pytest.mark.parametrize("other", [resnet34, resnet50, resnext50_32x4d])
def test_another_resnet_is_refused(
    other: Callable[[], nn.Module], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of ResNet-50 77 of ResNet-18's 100 tensors fit by name and shape, of ResNet-34 all."""
    with pytest.raises(MgralError, match=r"w\.safetensors: layer\d\S+ is not as in torchvision's resnet18; give"):
        loaded("fcos", drawn(other), tmp_path, caplog, backbone="resnet18")
