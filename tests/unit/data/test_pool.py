"""The pool's state."""

from __future__ import annotations

import json

import pytest

from mgral.core.errors import MgralError
from mgral.core.types import Boxes, Dataset, Image
from mgral.data.pool import (
    Pool,
    annotate,
    check_complete,
    hold_out,
    initial_pool,
    part,
    read_pool,
    replay_batch,
    write_pool,
)


def test_a_batch_moves_and_keeps_its_cycle(tmp_path):
    pool = initial_pool(range(1, 11), 4, seed=3)
    assert len(pool.labelled) == 4 and set(pool.labelled.values()) == {0}
    assert sorted([*pool.labelled, *pool.unlabelled]) == list(range(1, 11))
    batch = pool.unlabelled[:2]
    after = annotate(pool, reversed(batch))
    assert after.cycle == 1
    assert {i: after.labelled[i] for i in batch} == dict.fromkeys(batch, 1)
    assert set(after.unlabelled) == set(pool.unlabelled) - set(batch)
    write_pool(after, tmp_path / "pool.json")
    assert read_pool(tmp_path / "pool.json") == after


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    assert initial_pool([3, 1, 2, 5, 4], 2, 0) == initial_pool([1, 2, 3, 4, 5], 2, 0)
    drawn = {tuple(initial_pool(range(100), 5, seed).labelled) for seed in range(5)}
    assert len(drawn) == 5


def test_a_pool_too_small_says_both_numbers():
    with pytest.raises(MgralError, match=r"pool exhausted: 3 annotated images .* asks for 4"):
        initial_pool([1, 2, 3], 4, 0, [4, 5])


def test_images_that_nobody_has_annotated_wait_in_the_pool():
    pool = initial_pool([2, 4, 6], 2, 0, others=range(1, 7))
    assert set(pool.labelled) < {2, 4, 6}
    assert sorted([*pool.labelled, *pool.unlabelled]) == [1, 2, 3, 4, 5, 6]
    assert initial_pool([2, 4, 6], 2, 0).labelled == pool.labelled


@pytest.mark.parametrize(
    ("batch", "says"),
    [([1], "image 1 is labelled already"), ([9], "image 9 is not in the pool"), ([2, 2], "image 2")],
)
def test_a_bad_batch_is_refused(batch, says):
    with pytest.raises(MgralError, match=says):
        annotate(Pool(0, {1: 0}, (2, 3)), batch)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"cycle": 0}, "not a pool"),
        ([], "not a pool"),
        ({"cycle": 0, "labelled": [{"id": 1, "cycle": 0}], "unlabelled": [1]}, "image 1 is listed 2 times"),
        ({"cycle": 0, "labelled": [], "unlabelled": [2, 3, 2, 2]}, "image 2 is listed 3 times"),
        ({"cycle": 0, "labelled": [{"id": 1, "cycle": 0}], "unlabelled": [4]}, "image 4 is not in the data set"),
        ({"cycle": 0, "labelled": [{"id": 2, "cycle": 0}], "unlabelled": []}, "image 2 is labelled, but not annotated"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, says):
    (tmp_path / "pool.json").write_text(json.dumps(content))
    images = {i: Image(i, f"{i}.png", 8, 8, "train") for i in (1, 2, 3)}
    dataset = Dataset(("cell",), images, {1: Boxes.empty()}, tmp_path)
    with pytest.raises(MgralError, match=says):
        read_pool(tmp_path / "pool.json", dataset)


def test_holding_out_takes_its_share_of_every_class_and_keeps_the_rest():
    # 20 labelled images: 8 with class 0, 12 with class 1. A quarter is 5: 2 and 3.
    pool = Pool(3, {i: i % 3 for i in range(1, 21)}, (30, 31))
    classes = {i: {0} if i <= 8 else {1} for i in range(1, 21)}
    replay = hold_out(pool, classes, 0.25, seed=0)
    assert replay.cycle == 3
    assert [sum(i <= 8 for i in replay.unlabelled), len(replay.unlabelled)] == [2, 5]
    assert list(replay.unlabelled) == sorted(replay.unlabelled)
    assert {**replay.labelled, **{i: pool.labelled[i] for i in replay.unlabelled}} == pool.labelled
    assert hold_out(pool, classes, 0.25, seed=0) == replay
    assert hold_out(pool, classes, 0.25, seed=1) != replay


@pytest.mark.parametrize("share", [0.1, 0.95])
def test_holding_out_too_few_or_all_is_refused(share):
    # of 6 images 0.1 is 1, and 0.95 all of them
    with pytest.raises(MgralError, match=r"proxy.holdout: .* of 6 labelled images; at least 2 must be held out"):
        hold_out(Pool(0, dict.fromkeys(range(6), 0), ()), {}, share, 0)


def test_four_annotated_images_are_enough_to_hold_out_half_and_fewer_say_what_to_do():
    assert len(hold_out(Pool(0, dict.fromkeys(range(4), 0), ()), {}, 0.5, 0).unlabelled) == 2
    with pytest.raises(MgralError, match=r"of 2 labelled images; .* or annotate more images before the first cycle"):
        hold_out(Pool(0, dict.fromkeys(range(2), 0), ()), {}, 0.5, 0)


def test_a_replay_batch_is_at_most_half_of_what_is_held_out():
    assert [replay_batch(*sizes) for sizes in ((20, 15), (20, 40), (20, 100))] == [7, 20, 20]


@pytest.mark.parametrize(
    "content",
    [
        {"cycle": -1, "labelled": [], "unlabelled": [1]},
        {"cycle": 0, "labelled": [{"id": "1", "cycle": 0}], "unlabelled": []},
        {"cycle": 0, "labelled": [{"id": 1, "cycle": -2}], "unlabelled": []},
        {"cycle": 0, "labelled": [], "unlabelled": ["2"]},
        {"cycle": 0, "labelled": [], "unlabelled": [2.5]},
        {"cycle": True, "labelled": [], "unlabelled": [2]},
    ],
)
def test_numbers_of_a_pool_are_whole_and_not_negative(tmp_path, content):
    (tmp_path / "pool.json").write_text(json.dumps(content))
    with pytest.raises(MgralError, match="not a pool"):
        read_pool(tmp_path / "pool.json")


def test_a_pool_holds_no_image_of_val_or_test_and_has_lost_none(tmp_path):
    images = {i: Image(i, f"{i}.jpg", 9, 9, split) for i, split in ((1, "train"), (2, "train"), (3, "test"))}
    dataset = Dataset(("cat",), images, {i: Boxes.empty() for i in images}, tmp_path)
    write_pool(Pool(0, {1: 0}, (2, 3)), tmp_path / "pool.json")
    with pytest.raises(MgralError, match=r"image 3 is of split test, not of the pool \(train\)"):
        read_pool(tmp_path / "pool.json", dataset)
    with pytest.raises(MgralError, match=r"1 images of the data set are missing, image 2 \(2.jpg\) first"):
        check_complete(Pool(0, {1: 0}, ()), dataset, "pool.json")
    check_complete(Pool(0, {1: 0}, (2,)), dataset, "pool.json")


def test_a_part_of_the_labelled_pool_is_another_one_by_its_number():
    pool = Pool(1, dict.fromkeys(range(1, 21), 0), (30, 31))
    drawn = [part(pool, 0.25, seed=0, draw=number) for number in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(one.labelled) == 5 and one.labelled.keys() <= pool.labelled.keys() for one in drawn)
    assert drawn[0].unlabelled == (30, 31)
    assert len(part(pool, 0.01, 0, 0).labelled) == 2
