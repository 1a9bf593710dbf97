"""What mmdet's detectors promise. Collected when named; runs where mmdet is:

.venv-mmdet/bin/python -m pytest tests/contract/in_mmdet.py
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

# The promises of every detector, kept on this file's `built`; the tests are collected here by their import.
from test_detectors import (  # noqa: F401
    CLASSES,
    test_decoding_undoes_encoding,
    test_embedding_has_256_dimensions_and_tells_images_apart,
    test_mirrored_priors_undo_each_other_and_keep_size,
    test_predictions_keep_full_probabilities,
    test_shapes_and_the_statement_softmax_or_sigmoid,
    test_single_equals_batched,
    test_the_classifier_makes_the_logits,
    test_the_loss_of_an_image_is_its_own,
)

from mgral.config.schema import Machine
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.detection import training
from mgral.detection.base import Target, build_detector, load_detector, save_detector
from mgral.detection.detectors import mmdet
from mgral.detection.device import prepare_device
from mgral.detection.training import TrainingConfig
from mgral.reward.semi import isd, sed

pytest.importorskip("mmdet", reason="mmdet is not in this environment; `make env-mmdet` builds its own")

SIZES = {"ssd300": 300, "retinanet": 96}
LIGHT = "retinanet/retinanet_r18_fpn_1x_coco.py"  # the same family on a ResNet-18, for what ResNet-50 would only slow
EMPTY = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
SOFTMAX = {"model": {"bbox_head": {"loss_cls": {"_delete_": True, "type": "CrossEntropyLoss", "use_sigmoid": False}}}}


def new(config, size=None, seed=1, classes=CLASSES, **options):
    return build_detector("mmdet", classes, size or SIZES.get(config, 96), {"config": config, **options}, seed)


@pytest.fixture(scope="module", params=list(SIZES))
def built(request):
    detector = new(request.param)
    size = detector.image_size
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw = detector.eval()(pixels)
    return detector, pixels, raw


@pytest.fixture(scope="module")
def built_with_priors(built):
    return built


def test_families(built):
    detector, _, raw = built
    # SSD300: 4·38² + 6·(19² + 10² + 5²) + 4·(3² + 1) = 5776 + 2916 + 40; RetinaNet at 96: 9·(12² + 6² + 3² + 2² + 1)
    assert raw.logits.shape == {300: (2, 8732, 4), 96: (2, 1746, 3)}[detector.image_size]
    assert detector.activation == {300: "softmax", 96: "sigmoid"}[detector.image_size]
    config = {300: "ssd300", 96: "retinanet"}[detector.image_size]
    assert mmdet.activation(mmdet.Options(config=config)) == detector.activation


@pytest.mark.parametrize("config", list(SIZES))
def test_boxes_and_scores_are_those_of_mmdet(config):
    """Each of mmdet's own candidates, before suppression, is one prior's answer here."""
    from mmengine.config import ConfigDict

    detector = new(config).eval()
    head, size = detector.model.bbox_head, detector.image_size
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in head.parameters():
            weights.normal_(0, {"ssd300": 0.005, "retinanet": 0.03}[config], generator=generator)
        raw = detector(torch.rand(2, 3, size, size, generator=generator))
        maps = head(raw.features)
    if config == "ssd300":
        head.loss_cls = None  # mmdet 3.3's own prediction looks for it, and its SSDHead has none
    post = ConfigDict(nms_pre=30, min_bbox_size=-1, score_thr=0.0)  # 30 candidates a map
    meta = [{"img_shape": (size, size)}] * 2
    theirs = head.predict_by_feat(*maps, batch_img_metas=meta, cfg=post, with_nms=False)
    for one, logits, offsets in zip(theirs, raw.logits, raw.offsets, strict=True):
        assert len(one.scores) > 100 and one.scores.std() > 0.01
        scores = detector.foreground(detector.probabilities(logits))[:, one.labels]  # [P, candidates]
        boxes = (detector.decode(offsets)[:, None] - one.bboxes).abs().amax(2)  # pixels
        nearest = ((scores - one.scores).abs() * 1e4 + boxes).amin(0)
        assert nearest.max() < 0.05


def test_decoding_differs_from_mmdet_in_extreme_shrinking_alone(built):
    detector, _, _ = built
    coder, priors, size = detector.model.bbox_head.bbox_coder, detector.priors, detector.image_size
    weights = torch.tensor(detector.coder.weights)
    offsets = torch.randn(len(priors), 4, generator=torch.Generator().manual_seed(0)) * 0.8 * weights
    offsets[0, 2] = 1e3  # both let a side grow to 1000/16 of the prior's at most
    theirs = coder.decode(priors, offsets, max_shape=(size, size))
    torch.testing.assert_close(detector.decode(offsets), theirs, rtol=1e-4, atol=1e-2)
    # e^-1000 of the prior's width: nothing here, 16/1000 there
    offsets = torch.tensor([0, 0, -1e3, 0]).mul(weights).expand(len(priors), 4)
    middle = len(priors) // 2
    here, there = detector.decode(offsets)[middle], coder.decode(priors, offsets)[middle]
    width = (priors[middle, 2] - priors[middle, 0]).item()
    assert here[2] - here[0] == 0
    assert (there[2] - there[0]).item() == pytest.approx(0.016 * width, rel=0.01)


def test_the_losses_are_those_of_mmdet(built):
    """Through the contract's layout and back, against the head's losses on its own maps."""
    from mmengine.structures import InstanceData

    detector, pixels, _ = built
    detector.eval()
    size = detector.image_size
    box, label = torch.tensor([[0.2, 0.3, 0.7, 0.8]]) * size, torch.tensor([1])
    with torch.no_grad():
        raw = detector(pixels)
        maps = detector.model.bbox_head(raw.features)
    truth = [InstanceData(bboxes=box, labels=label), InstanceData(bboxes=EMPTY.xyxy, labels=EMPTY.labels)]
    meta = [{"img_shape": (size, size), "pad_shape": (size, size)}] * 2
    theirs = detector.model.bbox_head.loss_by_feat(*maps, truth, meta)
    ours = detector.losses(raw, [Target(box, label), EMPTY])
    assert ours["localisation"] > 0
    for key, name in (("classification", "loss_cls"), ("localisation", "loss_bbox")):
        torch.testing.assert_close(ours[key], sum(part.sum() for part in theirs[name]))


def test_losses_without_any_box_are_finite(built):
    detector, pixels, _ = built
    losses = detector.train().losses(detector(pixels), [EMPTY, EMPTY])
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["localisation"] == 0
    # gradients of the head alone: those of the backbone would take most of the time
    grads = torch.autograd.grad(sum(losses.values()), list(detector.head.parameters()), allow_unused=True)
    assert all(grad is None or torch.isfinite(grad).all() for grad in grads)
    assert any(grad is not None for grad in grads)


def test_colours_reach_the_network_as_the_config_says():
    """One pixel's worth of red: (255·1 - 123.675) / 58.395 = 2.2489 in the channel the config reads as red."""
    seen = []
    plain = {"model": {"data_preprocessor": {"bgr_to_rgb": False}}}
    for options in ({}, plain):
        detector = new(LIGHT, cfg_options=options).eval()
        detector.model.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0][0, :, 0, 0]))
        red = torch.zeros(1, 3, 96, 96)
        red[:, 0] = 1
        detector(red)
    # green and blue: -116.28 / 57.12 = -2.0357, -103.53 / 57.375 = -1.8044
    torch.testing.assert_close(seen[0], torch.tensor([2.2489, -2.0357, -1.8044]), rtol=1e-4, atol=1e-4)
    # without the swap the last channel is red: -123.675 / 58.395 = -2.1179, (255 - 103.53) / 57.375 = 2.6400
    torch.testing.assert_close(seen[1], torch.tensor([-2.1179, -2.0357, 2.6400]), rtol=1e-4, atol=1e-4)


def test_weights_depend_on_the_seed_alone_and_are_kept(tmp_path):
    state = torch.random.get_rng_state()
    first, second, other = (new(LIGHT, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    save_detector(other, tmp_path / "weights.safetensors")
    load_detector(first, tmp_path / "weights.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_a_detector_from_scratch_trains_all_of_its_layers():
    assert all(weights.requires_grad for weights in new(LIGHT).train().parameters())


def test_weights_of_model_or_backbone_are_taken_where_they_fit(tmp_path, caplog):
    source = new("retinanet", seed=1)
    model, backbone = tmp_path / "model.pth", tmp_path / "backbone.pth"
    torch.save({"meta": {"epoch": 12}, "state_dict": source.model.state_dict()}, model)
    torch.save(source.model.backbone.state_dict(), backbone)
    other_classes = new("retinanet", seed=2, classes=("a",), weights=str(model)).model
    caplog.clear()
    started = new("retinanet", seed=2, weights=str(backbone)).model
    (report,) = [one.getMessage() for one in caplog.records if "tensors of" in one.getMessage()]
    # ResNet-50 has 53 convolutions and as many batch norms of four tensors; no tensor of FPN and head is in the file
    assert "weights for 265 of 301 tensors of mmdet's model (backbone 265 of 265, neck 0 of 16, " in report
    expected = source.model.state_dict()
    for name, value in other_classes.state_dict().items():
        assert torch.equal(value, expected[name]) or "retina_cls" in name
    for name, value in started.state_dict().items():
        assert torch.equal(value, expected[name]) or not name.startswith("backbone.")
    assert not started.backbone.conv1.weight.requires_grad  # as the config has it, where there is something to keep
    torch.save({"conv1.weight": torch.zeros(1)}, backbone)
    with pytest.raises(MgralError, match=r"backbone\.pth: fits 0 of \d+ tensors of the config's backbone"):
        new("retinanet", weights=str(backbone))


def test_a_config_by_path_or_by_its_place_with_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\nmodel = dict(bbox_head=dict(stacked_convs=1))\n"
    )
    by_path = new("my.py", 96)
    assert len(by_path.model.bbox_head.cls_convs) == 1 and by_path.model.backbone.depth == 18
    for _ in range(2):  # a step may build several detectors from the same options
        soft = new("retinanet/retinanet_r18_fpn_1x_coco.py", 96, cfg_options=SOFTMAX)
    assert soft.activation == "softmax" and soft(torch.rand(1, 3, 96, 96)).logits.shape == (1, 1746, 4)


@pytest.mark.parametrize(
    ("config", "size", "options", "says"),
    [
        ("ssd300", 64, {}, "image_size: the config is for 300 pixels, not 64; set image_size: 300"),
        ("ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py", 64, {}, "priors are for another size than 64"),
        ("retinanet", 64, {}, "at 64 pixels the coarsest maps shrink to one cell"),
        ("retinanet", 100, {}, "takes multiples of 32 pixels, not 100"),
        ("retinane", 64, {}, "no file 'retinane', here or among mmdet's; did you mean 'retinanet'?"),
        ("broken.py", 64, {}, "broken.py: cannot be read as an mmdet config .*ZeroDivisionError"),
        ("empty.py", 64, {}, "empty.py: no one-stage detector"),
        ("retinanet", 64, {"model": {"backbone": {"dept": 18}}}, "mmdet cannot build it .*dept"),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", 96, {}, "no one-stage detector"),
        ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", 64, {}, "FCOSHead is no anchor head"),
        ("atss/atss_r50_fpn_1x_coco.py", 64, {}, "ATSSHead is no anchor head"),
        ("gfl/gfl_r50_fpn_1x_coco.py", 64, {}, "GFLHead (is no anchor head|gives)"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(config, size, options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("work_dir = 'x'\n")
    with pytest.raises(MgralError, match=says):
        new(config, size, cfg_options=options)


def test_unfamiliar_losses_are_refused():
    detector = new("free_anchor/freeanchor_r50_fpn_1x_coco.py", 96)
    box = Target(torch.tensor([[10.0, 10.0, 40.0, 40.0]]), torch.tensor([0]))
    with pytest.raises(MgralError, match="the losses of FreeAnchorRetinaHead are positive_bag_loss, negative_bag_loss"):
        detector.losses(detector(torch.rand(1, 3, 96, 96)), [box])


def world(folder, size):
    """Four images of noise, each with one bright square."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 80, (4, size, size, 3), dtype=np.uint8)
    listed, boxes, side = {}, {}, size // 3
    for i in range(4):
        x, y = generator.integers(0, size - side, 2)
        pixels[i, y : y + side, x : x + side] = 230
        listed[i + 1] = Image(i + 1, f"{i}.png", size, size, "train")
        boxes[i + 1] = Boxes(np.array([[x, y, x + side, y + side]], np.float32), np.array([0]), np.array([False]))
    np.save(folder / "images.npy", pixels)
    return image_cache.Cache(Dataset(("square",), listed, boxes, folder), folder / "images.npy")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("config", list(SIZES))
def test_training_lowers_the_loss(config, precision, tmp_path):
    if (config, precision) == ("ssd300", "bf16") and not prepare_device(
        Machine(threads=1, precision="auto", device="cpu")
    ).bf16:
        pytest.skip("this processor emulates bfloat16; four steps of SSD300 would take ten minutes")
    machine = prepare_device(Machine(threads=1, precision=precision, device="cpu"))
    steps = {"ssd300": 4, "retinanet": 10}[config]
    plan = TrainingConfig(steps, batch_size=1, learning_rate=1e-4, weight_decay=0.0, warmup=1, augment=False)
    rows = training.fit(new(config, classes=("square",)), world(tmp_path, SIZES[config]), [1], plan, machine, 0)
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]


def test_isd_teaches_a_softmax_detector_of_mmdet(tmp_path):
    """The term is not nothing once the detector sees foreground, and its gradient reaches the network."""
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    cache = world(tmp_path, 300)
    detector = new("ssd300", classes=("square",))
    with torch.no_grad():
        for convolutions in detector.model.bbox_head.cls_convs:
            convolutions[-1].bias.view(-1, 2)[:] = torch.tensor([0.5, 0.0])  # mmdet: class, background
    detector.model.backbone.features[:-5].requires_grad_(False)  # gradients of all of it take most of the time
    pixels = machine.images(cache.pixels([3, 4]))
    losses = isd.losses(detector.train(), pixels, 0.4, machine, isd.Options())
    assert set(losses) == {"flip", "type1", "type2"}
    total = sum(losses.values())
    assert torch.isfinite(total) and total > 0
    total.backward()
    assert all(weights.grad is not None for weights in detector.model.bbox_head.cls_convs.parameters())
    last = [weights for weights in detector.model.backbone.parameters() if weights.requires_grad]
    assert any(weights.grad.abs().sum() > 0 for weights in last)


def test_sed_teaches_retinanet_of_mmdet():
    """Its levels correspond at two sizes; what the student learns from another look at the images is finite."""
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    student = new(LIGHT, 160).train()
    teacher = sed.averaged(student, 0.999)
    teacher.update_parameters(student)
    pixels = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    losses = sed.losses(student, teacher, pixels, pixels.flip(1), machine, sed.Options())
    total = sum(losses.values())
    assert torch.isfinite(total) and min(losses.values()) > 0
    total.backward()
    assert all(torch.isfinite(weights.grad).all() for weights in student.parameters())
    assert any(weights.grad.abs().sum() > 0 for weights in student.model.backbone.parameters())
