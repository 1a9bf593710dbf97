"""Backbones that are no part of a detector: which weights fit, which maps there are, and local patterns by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from mgral.config.embedding import Backbone
from mgral.core.errors import MgralError
from mgral.core.types import Dataset, Image
from mgral.data.image_cache import Cache
from mgral.detection import backbone_embedding, backbones
from mgral.detection.device import Device
from mgral.detection.local_patterns import patterns

pytestmark = pytest.mark.slow

CPU = Device(torch.device("cpu"), bf16=False)


def maps(**given: object) -> list[torch.Tensor]:
    network = backbones.build(Backbone(**given), 64, "embedding")  # type: ignore[arg-type]
    with torch.inference_mode():
        found: list[torch.Tensor] = network(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return found


@pytest.mark.parametrize(
    ("name", "options", "shapes"),
    [
        ("resnet18", {"out_indices": [2, 3]}, [(128, 8), (256, 4)]),
        ("vit_tiny_patch16_224", {"out_indices": [10, 11]}, [(192, 4), (192, 4)]),
        ("swin_tiny_patch4_window7_224", {"out_indices": [1], "img_size": 64}, [(192, 8)]),  # channels last
        ("torchvision/resnet18", {}, [(64, 32), (64, 16), (128, 8), (256, 4), (512, 2)]),
        ("torchvision/mobilenet_v3_small", {}, [(16, 32), (16, 16), (24, 8), (48, 4), (576, 2)]),
    ],
)
def test_maps_of_timm_and_torchvision(name: str, options: dict[str, object], shapes: list[tuple[int, int]]) -> None:
    found = maps(backbone=name, options=options, weights="random")
    assert [(one.shape[1], one.shape[2]) for one in found] == shapes
    assert all(one.shape[0] == 2 and one.shape[2] == one.shape[3] for one in found)


def test_the_last_map_of_torchvision_is_what_its_classifier_pools() -> None:
    found = backbones.build(Backbone(backbone="torchvision/resnet18", weights="random"), 64, "embedding")
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        pooled = found(image)[-1].mean((2, 3))
        model = found.trunk.model
        model.fc = torch.nn.Identity()
        assert torch.allclose(pooled, model((image - found.mean) / found.std), atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "torchvision/resnet18"])
def test_a_file_of_the_whole_model_fits_the_maps(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Names differ between a classifier's file and the model that gives its maps."""
    if name.startswith("torchvision/"):
        whole = torchvision.models.get_model(name.removeprefix("torchvision/"), weights=None)
    else:
        whole = timm.create_model(name, pretrained=False)
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, tmp_path / "w.safetensors")
    with caplog.at_level(logging.INFO):
        trained = maps(backbone=name, weights=str(tmp_path / "w.safetensors"))
    (report,) = [one.getMessage() for one in caplog.records if "tensors of" in one.getMessage()]
    assert "; complete; " in report
    assert not torch.allclose(trained[-1], maps(backbone=name, weights="random")[-1])


def test_what_does_not_fit_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = timm.create_model("resnet18", pretrained=False)
    state = {key: value.contiguous() for key, value in whole.state_dict().items() if not key.startswith("layer4.1")}
    save_file(state, tmp_path / "w.safetensors")
    maps(backbone="resnet18", weights=str(tmp_path / "w.safetensors"))
    (report,) = [one for one in caplog.records if one.levelname == "WARNING"]
    # layer4.1 has two convolutions and two batch norms of four tensors; the file holds the classifier's two beside
    text = (
        r"w.safetensors: weights for 90 of 100 tensors of resnet18; 10 stay as initialised, layer4.1.conv1.weight first"
    )
    assert text in report.getMessage() and "2 tensors of the file are not used" in report.getMessage()
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(MgralError, match=r"w\.safetensors: fits 0 of 100 tensors of resnet18"):
        maps(backbone="resnet18", weights=str(tmp_path / "w.safetensors"))


def test_random_weights_only_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        MgralError, match=r"^embedding\.weights: missing; give a local weights file of resnet18, or random"
    ):
        maps(backbone="resnet18")
    assert torch.equal(*(maps(backbone="resnet18", weights="random")[-1] for _ in range(2)))
    assert [one.getMessage() for one in caplog.records] == [
        "embedding: resnet18 has random weights; they tell images apart much worse than trained ones"
    ] * 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"backbone": "resnet1"}, r"embedding\.backbone: timm has no model 'resnet1'; did you mean"),
        ({"backbone": "torchvision/resnet1"}, r"torchvision has no model 'resnet1'"),
        ({"backbone": "torchvision/vit_b_16"}, r"torchvision/vit_b_16 takes no images of 64 pixels"),
        ({"backbone": "resnet18", "options": {"colour": 1}}, r"embedding: timm does not build resnet18 with these"),
        ({"backbone": "torchvision/resnet18", "options": {"a": 1}}, r"torchvision does not build resnet18 with these"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(MgralError, match=says):
        maps(**given, weights="random")


def test_patterns_are_the_centres_of_the_strongest_cells() -> None:
    features = np.zeros((2, 2, 3), np.float32)
    features[:, 0, 0], features[:, 0, 1] = (4, 0), (4.2, 0)
    features[:, 1, 0], features[:, 1, 1] = (0, 4), (0, 4.2)
    features[:, 0, 2], features[:, 1, 2] = (1, 1), (0.1, 0.1)
    # lengths 4.2, 4.2, 4, 4, 1.4, 0.1 sum to 18.0: three cells hold more than half, the first of the two of length 4
    found = patterns(features, 2, seed=0)
    assert sorted(map(tuple, found.round(6).tolist())) == [(0.0, 4.2), (4.1, 0.0)]
    assert len(patterns(features, 5, seed=0)) == 5  # half of the activation is in fewer cells than that
    alike = patterns(np.ones((3, 2, 2), np.float32), 3, seed=0)
    assert alike.tolist() == [[1.0] * 3] * 3


def cache_of(tmp_path: Path, count: int) -> Cache:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8))
    listed = {i: Image(i, f"{i}.png", 64, 64, "train") for i in range(1, count + 1)}
    return Cache(Dataset(("a",), listed, {}, tmp_path), tmp_path / "images.npy")


def test_embeddings_and_patterns_of_images(tmp_path: Path) -> None:
    cache, params = cache_of(tmp_path, 3), Backbone(options={"out_indices": [2, 3]}, weights="random")
    vectors, local = backbone_embedding.compute(params, "embedding", cache, [1, 2, 3], CPU, 4)
    assert vectors.shape == (3, 256) and local.shape == (3, 4, 256) and np.isfinite(local).all()
    alone, own = backbone_embedding.compute(params, "embedding", cache, [3], CPU, 4)
    assert np.allclose(alone[0], vectors[2], atol=1e-4) and np.allclose(own[0], local[2], atol=1e-2)
    vectors, local = backbone_embedding.compute(params, "embedding", cache, [], CPU)
    assert vectors.shape == (0, 256) and local.shape == (0, 0, 256)
    with pytest.raises(MgralError, match=r"embedding\.patterns: 17, but the coarsest map of resnet18 has 16 cells"):
        backbone_embedding.compute(params, "embedding", cache, [1], CPU, 17)


def test_real_weights_fit_all_but_the_block_that_the_file_lacks(
    real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    file = real_data("backbones") / "mobilenetv1_100.imagenet.safetensors"
    options = {"pad_type": "same", "bn_eps": 1e-3}
    maps(backbone="mobilenetv1_100", options=options, weights=str(file))
    (report,) = [one.getMessage() for one in caplog.records]
    assert "weights for 125 of 135 tensors" in report and "10 stay as initialised, blocks.4.1" in report
