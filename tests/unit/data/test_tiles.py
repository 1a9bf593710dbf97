"""Large images, cut into tiles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from mgral.config import loading
from mgral.config.schema import DatasetParams, Evaluation, Machine
from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image, Tiling
from mgral.data import dataset_json, identity, image_cache, importing, tiles
from mgral.data.image_cache import Cache
from mgral.data.resizing import Resizing
from mgral.detection.base import build_detector
from mgral.detection.device import prepare_device
from mgral.detection.inference import run_inference

TILING = Tiling(100, 20, 0.5)


def boxes(*corners: tuple[float, float, float, float], ignore: bool = False) -> Boxes:
    count = len(corners)
    return Boxes(np.array(corners, np.float32).reshape(-1, 4), np.zeros(count, np.int64), np.full(count, ignore))


def dataset(width: int, height: int, truth: Boxes, tiling: Tiling | None = TILING) -> Dataset:
    return Dataset(("a",), {7: Image(7, "a.png", width, height, "train")}, {7: truth}, Path(), tiling)


@pytest.mark.parametrize(
    ("side", "starts"), [(100, [0]), (40, [0]), (101, [0, 1]), (180, [0, 80]), (181, [0, 80, 81]), (250, [0, 80, 150])]
)
def test_tiles_cover_an_image_and_end_at_its_side(side: int, starts: list[int]) -> None:
    assert tiles.corners(Image(1, "a.png", side, 10, "train"), TILING) == [(x, 0) for x in starts]
    assert tiles.corners(Image(1, "a.png", 10, side, "train"), TILING) == [(0, y) for y in starts]


def test_a_box_is_an_object_where_enough_of_it_shows_and_else_an_ignored_region() -> None:
    # tiles at x = 0 and 80: the box 60..110 shows 40 of 50 pixels in the first and 30 in the second; the box
    # 95..135 shows 5 of 40 in the first; the box 10..20 is not in the second at all
    cut, parts = tiles.cut(dataset(180, 100, boxes((60, 0, 110, 10), (95, 20, 135, 30), (10, 40, 20, 50))))
    first, second = (cut.boxes[i] for i in parts[7])
    assert first.xyxy.tolist() == [[60, 0, 100, 10], [95, 20, 100, 30], [10, 40, 20, 50]]
    assert first.ignore.tolist() == [False, True, False]
    assert second.xyxy.tolist() == [[0, 0, 30, 10], [15, 20, 55, 30]]
    assert second.ignore.tolist() == [False, False]


def test_what_is_ignored_stays_ignored_and_an_image_that_nobody_annotated_has_no_boxes() -> None:
    cut, parts = tiles.cut(dataset(180, 100, boxes((0, 0, 180, 100), ignore=True)))
    assert all(cut.boxes[i].ignore.all() for i in parts[7])
    bare = Dataset(("a",), {7: Image(7, "a.png", 180, 100, "val")}, {}, Path(), TILING)
    assert not tiles.cut(bare)[0].boxes


def test_tiles_have_ids_of_their_own_in_the_split_of_their_image() -> None:
    images = {i: Image(i, f"{i}.png", 180, 180, "val" if i == 2 else "train") for i in (1, 2, 10**7)}
    cut, parts = tiles.cut(Dataset(("a",), images, {}, Path(), TILING), [1, 2])
    assert [len(parts[i]) for i in images] == [4, 4, 1]
    assert len(cut.images) == 9
    assert all(cut.images[k].split == images[i].split for i, own in parts.items() for k in own)
    assert [cut.images[k].tile for k in parts[2]] == [(2, 0, 0), (2, 80, 0), (2, 0, 80), (2, 80, 80)]
    assert list(cut.images) == sorted(cut.images)
    joined = tiles.joined(cut)
    assert joined.images == images


def test_an_image_without_tiling_and_a_tile_are_not_cut() -> None:
    whole = dataset(180, 180, boxes((0, 0, 9, 9)), None)
    assert tiles.cut(whole) == (whole, {7: [7]})
    cut, parts = tiles.cut(dataset(180, 180, boxes((0, 0, 9, 9))))
    assert tiles.cut(cut)[1] == {i: [i] for i in parts[7]}


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(MgralError, match=r"dataset\.tiles\.size: 100 cuts image 7 \(a\.png\) into 15625 tiles"):
        tiles.cut(dataset(10_000, 10_000, boxes()))


def test_objects_larger_than_any_tile_are_counted() -> None:
    assert tiles.unseen(dataset(300, 100, boxes((0, 0, 300, 10), (0, 0, 150, 10), (0, 0, 50, 10)))) == 1
    assert tiles.unseen(dataset(90, 90, boxes((0, 0, 90, 90)))) == 0


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A COCO data set of 6 images, 2 of them large, turned, and random to the pixel."""
    rng = np.random.default_rng(0)
    sizes = {1: (250, 130), 2: (60, 60), 3: (60, 50), 4: (180, 100), 5: (60, 60), 6: (60, 60)}
    entries = []
    for i, (width, height) in sizes.items():
        Pillow.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{i}.png")
        entries.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
    marks = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [70, 10, 60, 30] if i in (1, 4) else [5, 5, 20, 20]}
        for i in sizes
    ]
    content = {"images": entries, "annotations": marks, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return tmp_path


def imported(root: Path, **given: object) -> tuple[Dataset, dict[str, object]]:
    params = DatasetParams.parse(
        {
            "format": "coco",
            "root": str(root),
            "options": {"annotations": "annotations.json", "images": "."},
            "on_invalid": "fail",
            "splits": {"val": 0.2, "test": 0.2, "seed": 0},
            "tiles": {"size": 100, "overlap": 20, **given},
        },
        "params",
    )
    return importing.import_dataset(params)


@pytest.mark.parametrize("by", ["image", "tile"])
def test_an_import_by_image_keeps_images_and_one_by_tile_cuts_those_of_train(
    large: Path, tmp_path: Path, by: str
) -> None:
    found, info = imported(large, by=by)
    plain, _ = imported(large, by="image")
    cut = {i: image for i, image in found.images.items() if image.tile is not None}
    assert {image.tile[0] for image in cut.values() if image.tile} == (
        {i for i, image in plain.images.items() if image.split == "train" and i in (1, 4)} if by == "tile" else set()
    )
    assert tiles.joined(found).images == plain.images
    path = tmp_path / "dataset.json"
    dataset_json.write(found, info, path)
    again = dataset_json.read(path)
    assert again.images == found.images and again.tiling == Tiling(100, 20, 0.5)
    assert all(np.array_equal(again.boxes[i].xyxy, found.boxes[i].xyxy) for i in found.boxes)


def test_a_second_import_by_tile_keeps_ids_and_splits(large: Path, tmp_path: Path) -> None:
    found, info = imported(large, by="tile")
    dataset_json.write(found, info, tmp_path / "dataset.json")
    splits = DatasetParams.parse(
        {
            "format": "coco",
            "root": ".",
            "options": {},
            "on_invalid": "fail",
            "splits": {"val": 0.2, "test": 0.2, "seed": 0},
        },
        "params",
    ).splits
    known = identity.of_dataset(tmp_path / "dataset.json", splits)
    assert known is not None and known.ids == {f"{i}.png": i for i in range(1, 7)}
    assert known.splits == {image.file_name: image.split for image in found.images.values()}


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize("by", ["image", "tile"])
def test_the_cache_holds_the_pixels_of_each_tile(large: Path, tmp_path: Path, by: str, decoded: bool) -> None:
    found, _ = imported(large, by=by)
    resizing = Resizing("letterbox", 100)
    image_cache.build(found, resizing, tmp_path / "images.npy", decoded)
    cache = Cache(found, tmp_path / "images.npy")
    inputs = cache.inputs(found.images)
    assert sum(cache.image_of(one).tile is not None for one in inputs) == 6 + 2
    for one in inputs:
        tile = cache.image_of(one).tile
        if tile is None:
            continue
        source, x, y = tile
        pixels = np.asarray(Pillow.open(large / f"{source}.png"))[y : y + 100, x : x + 100]
        assert np.array_equal(cache.pixels([one])[0][: pixels.shape[0]], pixels)
        assert len(cache.boxes(one)) == (x < 130 and x + 100 > 70 and y < 40)


@pytest.mark.parametrize("later_id", [7, 10**6])  # the second moves the ids of all tiles
@pytest.mark.parametrize("decoded", [True, False])
def test_images_that_join_later_are_cut_as_well(large: Path, tmp_path: Path, decoded: bool, later_id: int) -> None:
    """The cache of the beginning serves the old ones, and the tiles of the new ones come from their files."""
    found, _ = imported(large)
    image_cache.build(found, Resizing("letterbox", 100), tmp_path / "images.npy", decoded)
    pixels = np.random.default_rng(1).integers(0, 256, (100, 230, 3), np.uint8)
    Pillow.fromarray(pixels).save(large / "later.png")
    joined = Image(later_id, "later.png", 230, 100, "train", since=2)
    images = {**found.images, later_id: joined}
    more = replace(found, images=images, boxes={**found.boxes, later_id: boxes((90, 5, 120, 25))})
    before, after = (Cache(one, tmp_path / "images.npy") for one in (found, more))
    old = list(found.images)
    assert len(before.inputs(old)) == len(after.inputs(old)) == len(after.inputs(images)) - 3
    assert np.array_equal(before.pixels(before.inputs(old)), after.pixels(after.inputs(old)))
    own = after.inputs([later_id])
    wanted = np.stack([pixels[:, x : x + 100] for x in (0, 80, 130)])
    assert np.array_equal(after.pixels(own), wanted)
    assert np.array_equal(after.pixels([after.inputs([1])[1], own[2]])[1], wanted[2])  # old and new in one batch
    assert [after.boxes(one).ignore.tolist() for one in own] == [[True], [False], []]
    one, other = (tiles.cut(each)[1] for each in (found, more))
    assert (one[1] == other[1]) == (later_id == 7)


def test_whole_files_are_registered_also_those_that_are_added(large: Path, tmp_path: Path) -> None:
    def given(by: str) -> DatasetParams:
        tiling = {"size": 100, "overlap": 20, "by": by}
        options = {"annotations": "annotations.json", "images": "."}
        values = {"format": "coco", "root": str(large), "options": options, "on_invalid": "fail", "tiles": tiling}
        return DatasetParams.parse({**values, "splits": {"val": 0.2, "test": 0.2, "seed": 0}}, "params")

    first, _, _ = importing.register(given("image"), "mine", None, 0)
    Pillow.new("RGB", (230, 100), "red").save(large / "later.png")
    content = json.loads((large / "annotations.json").read_text())
    content["images"].append({"id": 9, "file_name": "later.png", "width": 230, "height": 100})
    (large / "annotations.json").write_text(json.dumps(content))
    second, _, _ = importing.register(given("image"), "mine", first, 1)
    (later,) = second.images[len(first.images) :]
    assert (later.id, later.since, later.width, later.height) == (9, 1, 230, 100)
    assert second.images[0] == first.images[0] and first.images[0].width == 250
    with pytest.raises(MgralError, match=r"dataset\.tiles\.by: files are registered, .* whole files; set image"):
        importing.register(given("tile"), "mine", None, 0)


def test_a_detector_sees_the_same_of_an_image_when_others_have_joined(large: Path, tmp_path: Path) -> None:
    found, _ = imported(large)
    image_cache.build(found, Resizing("letterbox", 64), tmp_path / "images.npy")
    Pillow.new("RGB", (230, 100), "red").save(large / "later.png")
    more = replace(found, images={**found.images, 10**6: Image(10**6, "later.png", 230, 100, "train", since=1)})
    detector = build_detector("tiny_ssd", found.classes, 64, {}, 0)
    evaluation = Evaluation(score_threshold=0.01, nms_iou=0.5, max_detections=20)
    machine = prepare_device(Machine(threads=1, precision="fp32", device="cpu"))
    seen = [
        run_inference(detector, Cache(one, tmp_path / "images.npy"), list(one.images), evaluation, machine)
        for one in (found, more)
    ]
    assert seen[1].embeddings.ids.tolist() == [*found.images, 10**6]
    np.testing.assert_allclose(seen[1].embeddings.vectors[:-1], seen[0].embeddings.vectors, rtol=1e-4, atol=1e-5)
    for i, one in seen[0].detections.items():
        np.testing.assert_allclose(seen[1].detections[i].xyxy, one.xyxy, atol=1e-2)
    there = seen[1].detections[10**6].xyxy
    assert len(there) and there[:, 2].max() > 100  # beyond its first tile, in pixels of the image


def test_a_later_image_whose_tiles_do_not_fit_the_input_is_refused(large: Path, tmp_path: Path) -> None:
    """All images of the beginning are small, so that the input is smaller than a tile."""
    small = {i: Image(i, f"{i}.png", 60, 60, "train") for i in (2, 5)}
    found = Dataset(("a",), small, {}, large, TILING)
    image_cache.build(found, Resizing("shortest_edge", 64, 128), tmp_path / "images.npy")
    more = replace(found, images={**small, 7: Image(7, "later.png", 250, 30, "train", since=1)})
    with pytest.raises(MgralError, match=r"\(later\.png\) joined later and does not fit the run's input of 64 pixels"):
        Cache(more, tmp_path / "images.npy")


def test_a_source_that_shrank_is_named(large: Path, tmp_path: Path) -> None:
    found, _ = imported(large)
    Pillow.new("RGB", (120, 130)).save(large / "1.png")
    with pytest.raises(MgralError, match=r"1\.png: image 1: 120 x 130 pixels, not the data set's"):
        image_cache.build(found, 100, tmp_path / "images.npy")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 20}, "size: 20 pixels are too few"),
        ({"size": 64, "overlap": 40}, "overlap: 40 is more than half of size 64"),
        ({"by": "tile"}, "size: 0, so images are not cut"),
        ({"size": 64, "visible": 1.5}, "visible"),
    ],
)
def test_unfit_tiles_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(MgralError, match=message):
        check({"dataset": {"tiles": given}})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": ["ll4al"]}, "dataset.tiles.by: ll4al scores the inputs of a network"),
        ({"strategies": ["freesel"], "embedding": {"weights": "random"}}, "dataset.tiles.by: local patterns"),
        ({"dataset": {"tiles": {"by": "tile"}}, "oracle": {"kind": "simulated"}}, "dataset.tiles.by: people annotate"),
    ],
)
def test_what_cannot_go_with_tiles_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(MgralError, match=message):
        check(loading.merge({"strategies": ["random"], "dataset": {"tiles": {"size": 64, "overlap": 16}}}, given))


def check(given: dict[str, object]) -> None:
    base = loading.read_yaml("params/base.yaml")
    loading.check(loading.merge(base, given), "test")
