"""The trainers in examples/ do what `detector: command` asks of them."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from mgral.config import loading
from mgral.config.schema import Evaluation
from mgral.core.types import Boxes, Dataset, Image
from mgral.data import image_cache
from mgral.detection import command_process
from mgral.detection.detectors.command import Options
from mgral.detection.external import ExternalTrainer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*/bccd.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_its_parameters_are_sound(path: Path, tmp_path: Path) -> None:
    given, where = loading.combine(
        (str(one), loading.read_yaml(one)) for one in [ROOT / "params/base.yaml", ROOT / "params/bccd.yaml", path]
    )
    if "environment" in given["detector"]["options"]:  # built by the user
        (tmp_path / "bin").mkdir()
        given["detector"]["options"]["environment"] = str(tmp_path)
    assert loading.check(given, where).detector.name == "command"


@pytest.mark.parametrize("example", ["torchvision", "transformers"])
def test_the_small_run_only_shortens_what_it_is_given_after(example: str, tmp_path: Path) -> None:
    paths = [
        "params/base.yaml",
        "params/bccd.yaml",
        f"examples/{example}/bccd.yaml",
        f"examples/{example}/small.yaml",
    ]
    (tmp_path / "bin").mkdir()  # an environment, where the example has one of its own
    checked = []
    for chosen in (paths[:3], paths):
        given, where = loading.combine((str(one), loading.read_yaml(ROOT / one)) for one in chosen)
        if "environment" in given["detector"]["options"]:
            given["detector"]["options"]["environment"] = str(tmp_path)
        checked.append(loading.check(given, where))
    large, small = checked
    assert small.detector.options["train"].startswith(large.detector.options["train"])
    assert small.proxy.records < large.proxy.records and small.experiment != large.experiment
    assert [one.name for one in small.strategies] == ["random", "entropy", "mgral"] and small.cycles == 2


@pytest.mark.slow
def test_torchvision_trains_and_predicts_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained once as the command says; all else in this process, which has imported torch already."""
    rng = np.random.default_rng(0)
    images, boxes = {}, {}
    for i in (1, 2, 3):
        pixels = rng.integers(0, 80, (48, 64, 3), np.uint8)
        pixels[10:30, 10 * i : 10 * i + 20] = 230
        Picture.fromarray(pixels).save(tmp_path / f"{i}.png")
        images[i] = Image(i, f"{i}.png", 64, 48, "train" if i < 3 else "val")
        square = np.array([[10 * i, 10, 10 * i + 20, 30]], np.float32)
        boxes[i] = Boxes(square, np.array([0]), np.array([False]))
    dataset = Dataset(("square",), images, boxes, tmp_path)
    image_cache.build(dataset, 32, tmp_path / "images.npy")
    given = loading.read_yaml(ROOT / "examples/torchvision/bccd.yaml")["detector"]["options"]
    program = f"'{sys.executable}' '{ROOT}/examples/torchvision/trainer.py'"
    lines = {name: given[name].replace("python examples/torchvision/trainer.py", program) for name in given}
    lines["train"] += " --steps 2 --batch 2 --size 48"
    options = Options.parse(lines, "detector.options")
    kept = Evaluation(score_threshold=0.0, nms_iou=0.5, max_detections=100)
    trainer = ExternalTrainer(dataset, image_cache.Cache(dataset, tmp_path / "images.npy"), options, kept)
    losses = trainer.train([1, 2], 3, tmp_path / "d.ckpt")

    def here(words: Sequence[str], *_: object) -> None:
        monkeypatch.setattr(sys, "argv", list(words[1:]))
        runpy.run_path(words[1], run_name="__main__")

    monkeypatch.setattr(command_process, "run_command", here)
    first = trainer.infer([3])
    with torch.random.fork_rng():
        assert trainer.train([1, 2], 3, tmp_path / "d.ckpt") == losses
        second = trainer.infer([3])
    assert [row["step"] for row in losses] == [0, 1]
    assert first.embeddings.vectors.shape == (1, 256)
    assert (first.embeddings.vectors == second.embeddings.vectors).all()
    assert (first.detections[3].scores == second.detections[3].scores).all()
