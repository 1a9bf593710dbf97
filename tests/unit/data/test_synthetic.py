"""The generated data set: the same bytes each time, and the structure that makes selection matter."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgral.core.errors import MgralError
from mgral.data.formats import _scenery, synthetic

SMALL = {"train": 12, "val": 4, "test": 4, "size": 48}


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("default")
    synthetic.generate(out, synthetic.Options())
    return out


@pytest.fixture(scope="module")
def content(default: Path) -> dict[str, Any]:
    return json.loads((default / "annotations.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_images(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        synthetic.generate(tmp_path / name, synthetic.Options(**SMALL, seed=seed))
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in a)


def test_image_names_are_those_that_are_written(tmp_path: Path) -> None:
    options = synthetic.Options(**SMALL)
    synthetic.generate(tmp_path, options)
    assert sorted(files(tmp_path)) == sorted(["annotations.json", *synthetic.image_names(options)])


def test_sizes_of_the_splits(content: dict[str, Any]) -> None:
    assert Counter(image["split"] for image in content["images"]) == {"train": 240, "val": 80, "test": 120}


def test_a_third_of_train_repeats_a_scene_and_no_scene_is_in_two_splits(content: dict[str, Any]) -> None:
    scenes = {
        split: [i["scene"] for i in content["images"] if i["split"] == split] for split in ("train", "val", "test")
    }
    # round(240 * 0.33) = 79 repeats
    assert len(scenes["train"]) - len(set(scenes["train"])) == 79
    assert len(set(scenes["val"])) == 80
    assert len(set(scenes["test"])) == 120
    assert not set(scenes["train"]) & set(scenes["val"] + scenes["test"])


def test_repeats_are_near_duplicates_but_not_copies(default: Path, content: dict[str, Any]) -> None:
    def pixels(image: dict[str, Any]) -> np.ndarray:
        return np.asarray(Image.open(default / "images" / image["file_name"]).resize((8, 8)), np.float64)

    pairs = list(zip(content["images"], content["images"][1:], strict=False))
    repeats = [np.abs(pixels(a) - pixels(b)).mean() for a, b in pairs if a["scene"] == b["scene"]]
    others = [np.abs(pixels(a) - pixels(b)).mean() for a, b in pairs if a["scene"] != b["scene"]]
    assert min(repeats) > 0
    assert np.mean(repeats) < np.mean(others) / 3


def test_classes_have_a_long_tail_that_reaches_every_split(content: dict[str, Any]) -> None:
    split = {image["id"]: image["split"] for image in content["images"]}
    counts = Counter((split[a["image_id"]], a["category_id"]) for a in content["annotations"])
    train = [counts["train", category] for category in range(1, 7)]
    assert train == sorted(train, reverse=True)
    assert train[0] > 8 * train[-1]
    assert min(counts[name, 6] for name in ("val", "test")) >= 8


def test_some_images_are_empty_and_some_crowded(content: dict[str, Any]) -> None:
    objects = Counter(annotation["image_id"] for annotation in content["annotations"])
    test = [objects[image["id"]] for image in content["images"] if image["split"] == "test"]
    # 0.08 and 0.1 of 120 scenes: 9.6 and 12, up to rounding
    assert test.count(0) == 10
    assert sum(count >= 8 for count in test) in (11, 12, 13)


def test_objects_lie_inside_and_are_10_to_45_pixels_wide(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        assert x >= 0 <= y
        assert x + w <= 128
        assert y + h <= 128
        assert 8 <= min(w, h) <= max(w, h) <= 45


def test_a_box_is_tight_around_its_object() -> None:
    # A disc of radius 5 around (12, 10): the box (7, 5, 17, 15) of the scene. Half covered pixels count.
    rng = np.random.default_rng(0)
    piece = _scenery.piece(label=0, x=12.0, y=10.0, radius=5.0, side=24, rng=rng)
    rows, columns = np.nonzero(piece.cover > 0.5)
    x1, y1, x2, y2 = _scenery.corners(piece, left=0, top=0)
    assert (x1, y1, x2, y2) == pytest.approx((7, 5, 17, 15), abs=0.05)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (7, 5, 17, 15)
    assert piece.cover.sum() == pytest.approx(np.pi * 25, rel=0.06)  # edges are drawn a sixth of a pixel wide
    assert _scenery.corners(piece, left=2, top=1) == pytest.approx((5, 4, 15, 14), abs=0.05)


def test_many_repeats_of_few_scenes_still_add_up(tmp_path: Path) -> None:
    frames = synthetic._frames(synthetic.Options(train=20, val=0, test=0, duplicates=0.95))
    # 19 repeats of a single scene
    assert [frame.number for frame in frames] == list(range(20))
    # of two images 0.8 would be both
    assert len(synthetic._frames(synthetic.Options(train=2, val=0, test=0, duplicates=0.8))) == 2


def test_shares_beyond_one_are_refused() -> None:
    with pytest.raises(MgralError, match="empty \\+ crowded must not exceed 1"):
        synthetic.Options.parse({"empty": 0.6, "crowded": 0.5}, "params.yaml: dataset.options")


def test_junk_spoils_a_share_of_train_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    for name, junk in (("none", 0.0), ("half", 0.5)):
        synthetic.generate(tmp_path / name, synthetic.Options(**SMALL, junk=junk))
    none, half = (files(tmp_path / name) for name in ("none", "half"))
    content = json.loads(half.pop("annotations.json"))
    changed = sorted(int(Path(name).stem) for name in half if half[name] != none[name])
    assert len(changed) == 6
    assert set(changed) <= {image["id"] for image in content["images"] if image["split"] == "train"}
    assert not {one["image_id"] for one in content["annotations"]} & set(changed)
    # two of each kind: bright, dark, and without detail
    pixels = {i: np.asarray(Image.open(tmp_path / f"half/images/{i:06d}.jpg"), np.float64) for i in changed}
    assert sum(one.mean() > 200 for one in pixels.values()) == 2
    assert sum(one.mean() < 30 for one in pixels.values()) == 2
    detail = [np.abs(np.diff(one, axis=0)).mean() for one in pixels.values() if 30 <= one.mean() <= 200]
    clear = np.asarray(Image.open(tmp_path / f"none/images/{changed[0]:06d}.jpg"), np.float64)
    assert len(detail) == 2
    assert max(detail) < 0.3 * np.abs(np.diff(clear, axis=0)).mean()
