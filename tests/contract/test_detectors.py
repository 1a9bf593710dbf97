"""What every detector promises."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet50, vgg
from torchvision.models.detection import ssd

from mgral.core import files, plugins
from mgral.core.errors import MgralError
from mgral.detection.base import Target, build_detector, load_detector, read_weights, save_detector
from mgral.detection.priors import PriorDetector

SIZES = {"ssd300": 300, "ssdlite": 320}  # pixels; others take any
CLASSES = ("a", "b", "c")
SEED = 5
# Networks of this package; one behind a user's command lines has its own contract, in test_command.py.
NAMES = [name for name in plugins.names("detectors") if not hasattr(plugins.load("detectors", name), "EXTERNAL")]


def has_priors(name):
    return getattr(plugins.load("detectors", name), "PRIORS", True)


@pytest.fixture(scope="module", autouse=True)
def only_the_features_of_vgg():
    """To draw the classifier of VGG16, 124 million weights that SSD300 discards, takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssd, "vgg16", lambda **_: SimpleNamespace(features=vgg_features()))
        yield


def vgg_features():
    """The convolutions of torchvision's vgg16, drawn as it draws them."""
    features = vgg.make_layers(vgg.cfgs["D"])
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return features


def chosen(name):
    """The small network and one of a kind are built after each edit, the others by `make test`."""
    return name if name in ("tiny_ssd", "retinanet") else pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=map(chosen, NAMES))
def built(request):
    return build(request.param)


@pytest.fixture
def built_with_priors(built, request):
    if not has_priors(request.node.callspec.params["built"]):
        pytest.skip("a detector without priors")
    return built


def small(name):
    """Options by which a detector over a ResNet is built on its smallest one, and looks at few proposals."""
    fields = plugins.load("detectors", name).Options.model_fields
    resnet = "backbone" in fields and "resnet18" in get_args(fields["backbone"].annotation)
    few = {"proposals": 50, "regions": 32}
    return ({"backbone": "resnet18"} if resnet else {}) | {key: few[key] for key in few if key in fields}


def build(name):
    if name == "mmdet":
        pytest.importorskip(
            "mmdet", reason="needs an environment of its own, `make env-mmdet`; tests/contract/in_mmdet.py"
        )
    size = SIZES.get(name, 96)
    detector = build_detector(name, CLASSES, size, small(name), SEED)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, size, size, generator=generator)
    with torch.no_grad():
        raw = detector.eval()(images)
    return detector, images, raw


def parts(raw):
    """The tensors of a raw output, each [B, …]."""
    values = [getattr(raw, field.name) for field in fields(raw)]
    return [one for value in values for one in (value if isinstance(value, list) else [value])]


def test_it_tells_whether_it_has_priors(built, request):
    detector, _, _ = built
    assert isinstance(detector, PriorDetector) == has_priors(request.node.callspec.params["built"])


def test_shapes_and_the_statement_softmax_or_sigmoid(built_with_priors):
    detector, _, raw = built_with_priors
    width = {"softmax": len(CLASSES) + 1, "sigmoid": len(CLASSES)}[detector.activation]
    assert raw.logits.shape == (2, len(detector.priors), width)
    assert raw.offsets.shape == (2, len(detector.priors), 4)
    probs = detector.probabilities(raw.logits)
    assert probs.min() >= 0 and probs.max() <= 1
    if detector.activation == "softmax":
        torch.testing.assert_close(probs.sum(-1), torch.ones(2, len(detector.priors)))
    assert detector.foreground(probs).shape[-1] == len(CLASSES)


def test_the_activation_is_told_before_anything_is_built(built, request):
    detector, _, _ = built
    plugin = plugins.load("detectors", request.node.callspec.params["built"])
    assert plugin.activation(plugin.Options()) == detector.activation


def test_embedding_has_256_dimensions_and_tells_images_apart(built):
    detector, _, raw = built
    embedding = detector.embed(raw)
    assert embedding.shape == (2, 256) and embedding.dtype == torch.float32
    assert not torch.equal(embedding[0], embedding[1])


def test_predictions_keep_full_probabilities(built):
    detector, _, raw = built
    for one in detector.predict(raw, score_threshold=0.0, nms_iou=0.5, max_detections=20, features=True):
        assert 0 < len(one.scores) <= 20
        if detector.activation == "softmax":
            torch.testing.assert_close(one.probs.sum(1), torch.ones(len(one.probs)))
        assert (one.scores.diff() <= 0).all()
        picked = detector.foreground(one.probs).gather(1, one.labels[:, None])[:, 0]
        torch.testing.assert_close(picked, one.scores)
        assert (one.xyxy[:, 2:] > one.xyxy[:, :2]).all()
        assert one.xyxy.min() >= 0 and one.xyxy.max() <= detector.image_size
        assert one.features.shape == (len(one.scores), 64) and one.features.norm(dim=1).max() < 1.001
    nothing = detector.predict(raw, score_threshold=1.0, nms_iou=0.5, max_detections=20, features=True)
    width = {"softmax": len(CLASSES) + 1, "sigmoid": len(CLASSES)}[detector.activation]
    assert all(one.xyxy.shape == (0, 4) and one.probs.shape == (0, width) for one in nothing)
    assert all(one.features.shape == (0, 64) for one in nothing)
    plain = detector.predict(raw, score_threshold=0.0, nms_iou=0.5, max_detections=20)
    assert all(one.features is None for one in plain)  # they cost time, and few strategies look at them


def test_features_of_detections_follow_the_map(built):
    detector, _, raw = built
    size = detector.image_size
    channels, height, width = raw.features[0].shape[1:]
    left, right = torch.eye(channels)[:2]  # one channel is lit in the left half, another in the right one
    features = left[:, None, None].repeat(1, height, width)
    features[:, :, width // 2 :] = right[:, None, None]
    boxes = torch.tensor([[0.1, 0.1, 0.3, 0.5], [0.7, 0.2, 0.9, 0.9], [0.15, 0.4, 0.35, 0.9]]) * size
    found = detector.describe(features, boxes)
    assert found.shape == (3, 64)
    directions = torch.nn.functional.normalize(detector.feature_projection[:2], dim=1)
    torch.testing.assert_close(found, directions[[0, 1, 0]], rtol=1e-4, atol=1e-5)
    assert detector.describe(torch.zeros_like(features), boxes).abs().sum() == 0
    for scale in (1e-3, 1e3):  # the length is not told, so that half precision holds it
        torch.testing.assert_close(detector.describe(features * scale, boxes), found, rtol=1e-4, atol=1e-5)


def test_the_classifier_makes_the_logits(built_with_priors):
    detector, _, raw = built_with_priors
    with torch.no_grad():
        torch.testing.assert_close(detector.eval().classifier()(raw.features), raw.logits)


def test_single_equals_batched(built):
    detector, images, raw = built
    with torch.no_grad():
        alone = detector.eval()(images[1:])
    for one, both in zip(parts(alone), parts(raw), strict=True):
        torch.testing.assert_close(one[0], both[1], rtol=1e-3, atol=1e-3)


def test_losses_are_finite_without_any_box_and_teach_with_one(built):
    detector, images, _ = built
    side = detector.image_size / 4
    box = Target(torch.tensor([[side, side, 2 * side, 2 * side]]), torch.tensor([2]))
    none = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    raw = detector.train()(images)
    # Gradients of what is no backbone: that of a backbone would cost most of the time.
    heads = [weight for name, weight in detector.named_parameters() if "backbone" not in name]
    for targets in ([box, none], [none, none]):
        losses = detector.losses(raw, targets)
        assert set(losses) == {"classification", "localisation"}
        total = sum(losses.values())
        assert torch.isfinite(total)
        found = torch.autograd.grad(total, heads, retain_graph=True, allow_unused=True)
        assert any(one is not None and one.abs().sum() > 0 for one in found)
    assert losses["localisation"] == 0  # no box, nothing to locate


def test_the_loss_of_an_image_is_its_own(built):
    """Neither the other image's boxes nor its pixels are in it, and its gradient reaches its own outputs alone."""
    detector, _, _ = built
    with torch.no_grad():
        raw = detector.eval()(torch.rand(2, 3, *[detector.image_size] * 2, generator=torch.Generator().manual_seed(3)))
    for part in parts(raw):
        part.requires_grad_()
    quarter = detector.image_size / 4
    small = Target(torch.tensor([[quarter, quarter, 2 * quarter, 2 * quarter]]), torch.tensor([2]))
    large = Target(torch.tensor([[quarter, 0, 4 * quarter, 4 * quarter]]), torch.tensor([0]))
    both = detector.image_losses(raw, [small, large])
    assert both.shape == (2,) and torch.isfinite(both).all()
    assert torch.equal(detector.image_losses(raw.of_image(1), [large]), both[1:])
    other = detector.image_losses(raw, [small, small])
    assert other[0] == both[0] and other[1] != both[1]
    grads = torch.autograd.grad(both[1], parts(raw), allow_unused=True)
    reached = [grad for grad in grads if grad is not None]
    assert sum(grad[0].abs().sum() for grad in reached) == 0 < sum(grad[1].abs().sum() for grad in reached)


def test_decoding_undoes_encoding(built_with_priors):
    detector, _, _ = built_with_priors
    size = detector.image_size
    boxes = torch.tensor([[0.1, 0.2, 0.6, 0.9]]).mul(size).expand(len(detector.priors), 4)
    offsets = detector.coder.encode_single(boxes, detector.priors)
    torch.testing.assert_close(detector.decode(offsets), boxes, rtol=1e-3, atol=1e-2)


def test_mirrored_priors_undo_each_other_and_keep_size(built_with_priors):
    detector, _, _ = built_with_priors
    mirror = detector.mirror
    assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
    here, there = detector.priors, detector.priors[mirror]
    torch.testing.assert_close(here[:, 2:] - here[:, :2], there[:, 2:] - there[:, :2], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(here[:, 1], there[:, 1])


@pytest.mark.slow
def test_weights_depend_on_the_seed_alone(built, request, tmp_path):
    name = request.node.callspec.params["built"]
    size = SIZES.get(name, 96)
    state = torch.random.get_rng_state()
    first = built[0]  # no test has trained it
    second, other = (build_detector(name, CLASSES, size, small(name), seed) for seed in (SEED, SEED + 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    save_detector(other, tmp_path / "weights.safetensors")
    load_detector(second, tmp_path / "weights.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(second.parameters(), other.parameters(), strict=True))


def test_weights_that_are_none_are_refused(tmp_path):
    detector = build_detector("tiny_ssd", CLASSES, 64, {}, 0)
    path = tmp_path / "w.safetensors"
    with pytest.raises(MgralError, match="no such file"):
        load_detector(detector, path)
    path.write_bytes(b"rubbish")
    with pytest.raises(MgralError, match="not a weights file"):
        load_detector(detector, path)
    save_detector(build_detector("tiny_ssd", ("only",), 64, {}, 0), path)
    with pytest.raises(MgralError, match="another detector or another number of classes"):
        load_detector(detector, path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
# torch's unpickler meets them with an IndexError, a KeyError, a struct.error …
@pytest.mark.parametrize("text", ["", "hello, world\n", "no such thing\n", "0", "\x80\x02J", "b.", "<html>"])
def test_text_is_no_weights(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(MgralError, match=rf"{name}: (not a weights file|holds code or is damaged)"):
        read_weights(path)
    with pytest.raises(MgralError, match=f"{name}: damaged checkpoint; remove it"):
        files.read_checkpoint(path)


def test_weights_that_run_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(MgralError, match=r"evil\.pth: holds code"):
        read_weights(tmp_path / "evil.pth")


def test_weights_may_lie_in_a_checkpoint(tmp_path):
    torch.save({"state_dict": {"weight": torch.ones(3)}, "meta": {"epoch": 2}}, tmp_path / "w.pth")
    assert torch.equal(read_weights(tmp_path / "w.pth")["weight"], torch.ones(3))


@pytest.mark.parametrize("state", [torch.zeros(3), [torch.zeros(3)], {"model": {"weight": torch.zeros(3)}}])
def test_weights_that_have_no_names_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(MgralError, match=r"w\.pth: holds no tensors by name; give the model's state dictionary"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(("name", "size"), [("retinanet", 64), ("retinanet_v2", 64), ("fcos", 64), ("ssdlite", 128)])
def test_images_too_small_for_the_levels_are_refused(name, size) -> None:
    with pytest.raises(MgralError, match=rf"^image_size: at {size} pixels \w+'s coarsest maps shrink to one cell"):
        build_detector(name, CLASSES, size, {}, 0)


@pytest.mark.slow
def test_ssd300_takes_the_weights_that_imagenet_trained(tmp_path):
    network = vgg_features()
    save_file(network.state_dict(prefix="features."), tmp_path / "vgg16.safetensors")
    backbone = build_detector(
        "ssd300", CLASSES, 300, {"weights": str(tmp_path / "vgg16.safetensors")}, 0
    ).trunk.backbone
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        four_blocks = backbone.features(images)
        torch.testing.assert_close(four_blocks, network[:23](images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            backbone.extra[0][:7](four_blocks), network[23:30](four_blocks), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
def test_retinanet_takes_the_weights_that_imagenet_trained(tmp_path):
    network = resnet50(weights=None)
    save_file(network.state_dict(), tmp_path / "resnet50.safetensors")
    detector = build_detector("retinanet", CLASSES, 128, {"weights": str(tmp_path / "resnet50.safetensors")}, 0)
    for name, tensor in detector.backbone.body.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("ssd300", 300), ("retinanet", 128)])
def test_weights_of_another_network_are_refused(name, size, tmp_path):
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(MgralError, match=r"other\.safetensors: fits 0 of \d+ tensors of torchvision's"):
        build_detector(name, CLASSES, size, {"weights": str(tmp_path / "other.safetensors")}, 0)
