"""Tiles for a user's command: files of their own, and results that are put together to those of whole images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from mgral.config.schema import Evaluation
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image, Tiling
from mgral.data import image_cache, tiles
from mgral.data.resizing import Resizing
from mgral.detection import tile_files
from mgral.detection.checkpoint import files_beside
from mgral.detection.detectors.command import Options
from mgral.detection.external import ExternalTrainer

pytestmark = pytest.mark.slow

TILING = Tiling(100, 20, 0.5)
TRAIN = """
import json, sys, numpy as np
from PIL import Image
from pathlib import Path
read = [json.loads(Path(path).read_text()) for path in sys.argv[2:4]]
pixels = {one["id"]: np.asarray(Image.open(Path(sys.argv[1], one["file_name"]))).tolist() for coco in read
          for one in coco["images"]}
Path(sys.argv[4]).write_text(json.dumps({"train": read[0], "val": read[1], "pixels": pixels}))
"""
PREDICT = """
import json, sys, numpy as np
from PIL import Image
from pathlib import Path
root, listed, results, vectors, asked = sys.argv[1:6]
images = json.loads(Path(listed).read_text())["images"]
rows = []
for one in images:
    width, height = Image.open(Path(root, one["file_name"])).size
    assert (width, height) == (one["width"], one["height"])
    score = 0.5 + width / 1000
    rows.append({"image_id": one["id"], "category_id": 1, "bbox": [10, 10, 20, 20], "score": score})
    rows.append({"image_id": one["id"], "category_id": 1, "bbox": [82 - 80 * (len(rows) // 2 % 2), 50, 15, 9],
                 "score": 0.9})
Path(results).write_text(json.dumps(rows))
np.savez(vectors, ids=[one["id"] for one in images], vectors=[[one["id"] % 10] * 256 for one in images])
with open(asked, "a") as file:
    file.write(f"{len(images)} {root}\\n")
"""


@pytest.fixture
def trainer(tmp_path: Path) -> ExternalTrainer:
    """Image 1 of 180 x 100 pixels, cut in two, is train with one box; 2 of 60 x 60 and 3 of 180 x 100 are val."""
    rng = np.random.default_rng(0)
    images = {}
    for i, (width, height) in enumerate([(180, 100), (60, 60), (180, 100)], start=1):
        Pillow.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{i}.png")
        images[i] = Image(i, f"{i}.png", width, height, "train" if i == 1 else "val")
    box = Boxes(np.array([[60, 0, 110, 10]], np.float32), np.array([0]), np.array([False]))
    dataset = Dataset(("ant",), images, {1: box, 2: Boxes.empty(), 3: Boxes.empty()}, tmp_path, TILING)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "predict.py").write_text(PREDICT)
    given = {
        "train": f"'{sys.executable}' '{tmp_path}/train.py' {{images}} {{train}} {{val}} {{weights}} {{seed}}",
        "predict": f"'{sys.executable}' '{tmp_path}/predict.py' {{images}} {{list}} {{results}} {{vectors}} "
        f"'{tmp_path}/asked' {{weights}}",
    }
    return opened(dataset, given)


def opened(dataset: Dataset, given: dict[str, str]) -> ExternalTrainer:
    path = dataset.root / "images.npy"
    image_cache.build(dataset, Resizing("letterbox", 64), path)
    kept = Evaluation(score_threshold=0.1, nms_iou=0.5, max_detections=9)
    options = Options.parse(given, "detector.options")
    return ExternalTrainer(dataset, image_cache.Cache(dataset, path), options, kept)


def test_a_command_trains_on_tiles_as_images_of_their_own(trainer: ExternalTrainer, tmp_path: Path) -> None:
    trainer.train([1], 0, tmp_path / "d.ckpt")
    assert trainer.weights is not None
    seen = json.loads(trainer.weights.read_text())
    cut, parts = tiles.cut(trainer.dataset)
    assert [one["id"] for one in seen["train"]["images"]] == parts[1]
    assert [one["id"] for one in seen["val"]["images"]] == [2, *parts[3]]
    assert [(one["image_id"], one["bbox"]) for one in seen["train"]["annotations"]] == [
        (parts[1][0], [60, 0, 40, 10]),
        (parts[1][1], [0, 0, 30, 10]),
    ]
    for i in (*parts[1], 2, *parts[3]):
        source, x, y = cut.images[i].tile or (i, 0, 0)
        whole = np.asarray(Pillow.open(tmp_path / f"{source}.png"))
        assert np.array_equal(np.array(seen["pixels"][str(i)]), whole[y : y + 100, x : x + 100])
    assert not (files_beside(tmp_path / "d.ckpt") / "images").exists()


@pytest.mark.parametrize(("at_once", "runs"), [(2000, [5]), (3, [3, 2]), (1, [2, 1, 2])])
def test_what_it_finds_in_tiles_is_put_together(
    trainer: ExternalTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, runs: list[int]
) -> None:
    """In each tile a box at 10..30, and one that both tiles of an image show where they overlap, at 82..97."""
    monkeypatch.setattr(tile_files, "AT_ONCE", at_once)
    trainer.weights = tmp_path / "1.png"
    found = trainer.infer([3, 1, 2])
    asked = [line.split(maxsplit=1) for line in (tmp_path / "asked").read_text().splitlines()]
    assert [int(count) for count, _ in asked] == runs
    assert not any(Path(root).exists() for _, root in asked if Path(root) != tmp_path)
    assert found.detections[1].xyxy.tolist() == [[82, 50, 97, 59], [10, 10, 30, 30], [90, 10, 110, 30]]
    assert found.detections[1].scores.tolist() == pytest.approx([0.9, 0.6, 0.6])
    assert found.detections[2].scores.tolist() == pytest.approx([0.56])  # the other box has no area inside it
    mean = [sum(i % 10 for i in own) / len(own) for own in (trainer.cache.inputs([i]) for i in (1, 2, 3))]
    assert found.embeddings.ids.tolist() == [1, 2, 3]
    assert found.embeddings.vectors[:, 0].tolist() == pytest.approx(mean)


def test_a_tile_that_was_selected_is_an_image_as_any(trainer: ExternalTrainer, tmp_path: Path) -> None:
    cut, parts = tiles.cut(trainer.dataset, [1])
    by_tile = opened(cut, {key: getattr(trainer.options, key) for key in ("train", "predict")})
    by_tile.train(parts[1][1:], 0, tmp_path / "d.ckpt")
    assert by_tile.weights is not None
    seen = json.loads(by_tile.weights.read_text())["train"]
    assert [one["id"] for one in seen["images"]] == parts[1][1:] and seen["annotations"][0]["bbox"] == [0, 0, 30, 10]
    assert list(by_tile.infer(parts[1]).detections) == parts[1]


def test_a_file_that_is_gone_is_named_and_no_tile_stays(trainer: ExternalTrainer, tmp_path: Path) -> None:
    (tmp_path / "1.png").unlink()
    with pytest.raises(MgralError, match=r"1\.png: image 1: no such file; restore the file or import"):
        trainer.train([1], 0, tmp_path / "d.ckpt")
    assert not (files_beside(tmp_path / "d.ckpt") / "images").exists()
