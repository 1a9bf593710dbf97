"""What every strategy promises that assesses images in a step of its own: from the command line, on both families."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mgral import cli
from mgral.core import plugins
from mgral.core.types import Boxes, Dataset, Image, Split
from mgral.data import dataset_json
from mgral.data.pool import Pool, write_pool
from mgral.detection import npz_files
from mgral.detection.base import build_detector, save_detector

pytestmark = pytest.mark.slow

SIZE = 96  # pixels; RetinaNet takes no less
LABELLED, UNLABELLED = (1, 2, 4, 7), (3, 5, 6, 8, 9)
CLASSES = ("ant", "bee")
STEPS = {"tiny_ssd": 3, "retinanet": 2}  # of a training, and images in a batch
CHECKPOINTS = {"tiny_ssd": 2, "retinanet": 0}  # steps between; RetinaNet's, of 400 MB, show nothing more
SHORT = {"rounds": 1, "epochs": 1}  # where a strategy has such options
STRATEGIES = {name: plugins.load("strategies", name) for name in plugins.names("strategies")}
ASSESSING = [name for name, plugin in STRATEGIES.items() if "image_scores" in plugin.NEEDS]
DETECTING = [name for name, plugin in STRATEGIES.items() if hasattr(plugin, "score_and_detect")]
PARAMS = """
strategies: [{strategy}]
budget: {{initial: 4, batch: 3}}
detector: {{name: {detector}, options: {{}}}}
training:
  {{steps: {steps}, batch_size: {steps}, learning_rate: 0.0001, weight_decay: 0.0, warmup: 1,
    checkpoint_every: {checkpoints}, augment: true}}
evaluation: {{score_threshold: 0.01, nms_iou: 0.5, max_detections: 20}}
embedding: {{backbone: resnet18, options: {{}}, weights: null}}
machine: {{threads: 1, precision: fp32, device: cpu}}
"""


@pytest.fixture(scope="module", params=["tiny_ssd", "retinanet"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_resnets: None
) -> tuple[str, Path]:
    """Images of noise with a bright square each, and a detector that sees objects everywhere.

    Nine are of the pool, four of these labelled; two are of val and two of test.
    """
    folder = tmp_path_factory.mktemp(request.param)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 80, (13, SIZE, SIZE, 3), dtype=np.uint8)
    images, boxes = {}, {}
    splits: list[Split] = [*["train"] * 9, *["val"] * 2, *["test"] * 2]  # type: ignore[list-item]
    for i, split in enumerate(splits, start=1):
        x, y = generator.integers(0, SIZE - 24, 2)
        pixels[i - 1, y : y + 24, x : x + 24] = 230
        images[i] = Image(i, f"{i}.png", SIZE, SIZE, split)
        boxes[i] = Boxes(np.array([[x, y, x + 24, y + 24]], np.float32), np.array([i % 2]), np.array([False]))
    np.save(folder / "images.npy", pixels)
    dataset = Dataset(CLASSES, images, boxes, folder)
    dataset_json.write(dataset, {}, folder / "dataset.json")
    wrong = {i: one if i in LABELLED else replace(one, labels=1 - one.labels) for i, one in boxes.items()}
    dataset_json.write(replace(dataset, boxes=wrong), {}, folder / "wrong.json")
    write_pool(Pool(0, dict.fromkeys(LABELLED, 0), UNLABELLED), folder / "pool.json")
    detector = build_detector(request.param, CLASSES, SIZE, {}, 0)
    with torch.no_grad():
        for name, weights in detector.named_parameters():
            if "classification_head" in name and name.endswith("bias"):
                weights += 3  # from RetinaNet's 0.01 to about 0.2
    save_detector(detector, folder / "detector.safetensors")
    return request.param, folder


def parameters(entry: str, detector: str) -> str:
    return PARAMS.format(strategy=entry, detector=detector, steps=STEPS[detector], checkpoints=CHECKPOINTS[detector])


def plugin_options(strategy: str) -> set[str]:
    return set(STRATEGIES[strategy].Options.model_fields) if strategy in STRATEGIES else set()


def score(
    strategy: str,
    world: tuple[str, Path],
    out: Path,
    dataset: str = "dataset.json",
    pool: str = "pool.json",
    own: Path | None = None,
    entry: str | None = None,
) -> Path:
    """Run the verb; the parameters lie beside the image scores. ``entry``: the strategy's, where it is not a name."""
    detector, folder = world
    params = out.with_suffix(".yaml")
    short = {key: value for key, value in SHORT.items() if key in plugin_options(strategy)}
    if entry is None and short:
        entry = json.dumps({"name": strategy, "plugin": strategy, "options": short})
    params.write_text(parameters(entry or strategy, detector))
    paths = {"images": "images.npy", "pool": pool, "detector": "detector.safetensors", "dataset": dataset}
    options = [text for name, path in paths.items() for text in (f"--{name}", str(folder / path))]
    options += ["--own", str(own)] if own else []
    command = ["score", "--params", str(params), "--strategy", strategy, *options, "--seed", "0", "--out", str(out)]
    assert cli.main(command) == 0
    return out


@pytest.mark.parametrize("strategy", ASSESSING)
def test_assessment_and_selection(strategy: str, world: tuple[str, Path], tmp_path: Path) -> None:
    path = score(strategy, world, tmp_path / "image_scores.npz")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["image_scores.npz", "image_scores.yaml"]
    found = npz_files.read_image_scores(path)
    assert found.ids.tolist() == list(UNLABELLED)
    terms = plugins.load("strategies", strategy).TERMS
    assert {name: term.shape for name, term in found.terms.items()} == {
        name: (len(UNLABELLED), *({"class": len(CLASSES)}[axis] for axis in axes)) for name, axes in terms.items()
    }
    assert any(len(np.unique(term)) > 1 for term in found.terms.values())  # images differ, or classes

    command = f"select --strategy {strategy} --seed 0 --image-scores {path} --params {tmp_path}/image_scores.yaml"
    files = [f"--dataset={world[1]}/dataset.json", f"--pool={world[1]}/pool.json"]
    if "detections" in plugins.load("strategies", strategy).NEEDS:
        seen = [f"--detections={tmp_path}/detections.npz", f"--embeddings={tmp_path}/embeddings.npz"]
        look = f"embed --params {tmp_path}/image_scores.yaml --images {world[1]}/images.npy"
        assert cli.main([*look.split(), f"--detector={world[1]}/detector.safetensors", *files, *seen]) == 0
        files += seen
    assert cli.main([*command.split(), *files, f"--out={tmp_path}/selected.json"]) == 0
    picks = json.loads((tmp_path / "selected.json").read_text())["picks"]
    assert len({pick["id"] for pick in picks} & set(UNLABELLED)) == len(picks) == 3


@pytest.mark.parametrize("strategy", [name for name in ASSESSING if "variant" in STRATEGIES[name].Options.model_fields])
def test_scores_of_the_variant_code(strategy: str, world: tuple[str, Path], tmp_path: Path) -> None:
    if world[0] != "tiny_ssd":
        pytest.skip("one detector is enough: this is about the variant")
    label = f"{{name: own, plugin: {strategy}, options: {{variant: code}}}}"
    path = score("own", world, tmp_path / "image_scores.npz", entry=label)
    found = npz_files.read_image_scores(path)
    assert found.ids.tolist() == list(UNLABELLED)
    assert any(len(np.unique(term)) > 1 for term in found.terms.values())


@pytest.mark.parametrize("strategy", ASSESSING)
def test_same_bytes_whatever_the_labels_to_come(strategy: str, world: tuple[str, Path], tmp_path: Path) -> None:
    if world[0] != "tiny_ssd":
        pytest.skip("one detector is enough: this is about the verb")
    known = score(strategy, world, tmp_path / "known.npz").read_bytes()
    assert score(strategy, world, tmp_path / "wrong.npz", "wrong.json").read_bytes() == known


@pytest.mark.parametrize("strategy", DETECTING)
def test_the_own_detector_comes_with_the_same_assessment(
    strategy: str, world: tuple[str, Path], tmp_path: Path
) -> None:
    detector, folder = world
    if detector != "tiny_ssd":
        pytest.skip("one detector is enough: this is about the verb")
    path = score(strategy, world, tmp_path / "a.npz", own=tmp_path / "own.json")
    plain = score(strategy, world, tmp_path / "b.npz")
    assert path.read_bytes() == plain.read_bytes()
    found = json.loads((tmp_path / "own.json").read_text())
    # labelled are the squares 1, 2, 4 and 7: ids that are even are ants, the others bees
    counted = {"cycle": 0, "images": 4, "boxes": 4, "classes": {"ant": 2, "bee": 2}}
    assert {key: found[key] for key in counted} == counted
    assert all(0 <= found[split]["mAP"] <= found[split]["AP50"] <= 1 for split in ("val", "test"))

    train = f"train --params {tmp_path}/a.yaml --dataset {folder}/dataset.json --images {folder}/images.npy --seed 0"
    assert cli.main([*train.split(), f"--pool={folder}/pool.json", f"--out={tmp_path}/plain"]) == 0
    metrics = json.loads((tmp_path / "plain" / "metrics.json").read_text())
    assert {key: shape(value) for key, value in metrics.items()} == {key: shape(value) for key, value in found.items()}


def shape(value: object) -> object:
    return sorted(value) if isinstance(value, dict) else type(value)


@pytest.mark.parametrize("strategy", DETECTING)
def test_an_own_detector_is_trained_even_if_nothing_is_unlabelled(
    strategy: str, world: tuple[str, Path], tmp_path: Path
) -> None:
    if world[0] != "tiny_ssd":
        pytest.skip("one detector is enough: this is about the pool")
    write_pool(Pool(1, dict.fromkeys((*LABELLED, *UNLABELLED), 0), ()), world[1] / "whole.json")
    path = score(strategy, world, tmp_path / "a.npz", pool="whole.json", own=tmp_path / "own.json")
    assert npz_files.read_image_scores(path).ids.tolist() == []
    assert json.loads((tmp_path / "own.json").read_text())["images"] == 9
    assert score(strategy, world, tmp_path / "b.npz", pool="whole.json").read_bytes() == path.read_bytes()


def test_what_has_no_own_detector_is_not_asked_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text(parameters("cald", "tiny_ssd"))
    paths = [f"--{name}=none-{name}" for name in ("dataset", "images", "pool", "detector", "out", "own")]
    assert cli.main(["score", f"--params={tmp_path}/p.yaml", "--strategy=cald", "--seed=0", *paths]) == 2
    assert capsys.readouterr().err == "mgral: --own: cald has no detector of its own to report; leave it out\n"


def test_what_assesses_nothing_is_refused(
    world: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(parameters("random", "tiny_ssd"))
    paths = [f"--{name}=none" for name in ("dataset", "images", "pool", "detector", "out")]
    for label, says in (
        ("random", "random scores no images in a step of its own; go on with `mgral select`"),
        ("rnd", "mean 'random'"),
    ):
        assert cli.main(["score", "--params", f"{tmp_path}/p.yaml", "--strategy", label, "--seed=0", *paths]) == 2
        assert says in capsys.readouterr().err


def test_a_missing_assessment_is_asked_for(
    world: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(parameters("ll4al", "tiny_ssd"))
    paths = [f"--dataset={world[1]}/dataset.json", f"--pool={world[1]}/pool.json", f"--out={tmp_path}/selected.json"]
    assert cli.main(["select", f"--params={tmp_path}/p.yaml", "--strategy=ll4al", "--seed=0", *paths]) == 2
    assert capsys.readouterr().err == "mgral: --image-scores: missing; strategy ll4al needs it\n"
