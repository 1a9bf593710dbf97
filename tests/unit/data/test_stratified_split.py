"""Images in parts: exact sizes, every class's share, nothing left to chance but the seed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mgral.core.types import Split
from mgral.data.stratified_split import draw

SHARES: dict[Split, float] = {"val": 0.2, "test": 0.3}


def test_every_class_keeps_its_share() -> None:
    # 10 images of class 0, 20 of class 1, 10 without object: 0.2 and 0.3 of 40 are 8 and 12, of each class
    # 2 and 3, 4 and 6, 2 and 3.
    labels = {i: {0} for i in range(1, 11)} | {i: {1} for i in range(11, 31)} | {i: set() for i in range(31, 41)}
    drawn = draw(labels, SHARES, "train", seed=0)
    counts = Counter((drawn[i], tuple(labels[i])) for i in labels)
    assert counts == {
        ("train", (0,)): 5,
        ("val", (0,)): 2,
        ("test", (0,)): 3,
        ("train", (1,)): 10,
        ("val", (1,)): 4,
        ("test", (1,)): 6,
        ("train", ()): 5,
        ("val", ()): 2,
        ("test", ()): 3,
    }


def test_a_rare_class_beside_a_frequent_one_is_shared_out() -> None:
    # Class 1 is in 10 of 100 images, always with class 0, which is in all. Drawn by size alone, val could
    # miss it; here 0.2 * 10 = 2 and 0.3 * 10 = 3 of its images go to val and test.
    labels = {i: {0, 1} if i % 10 == 0 else {0} for i in range(1, 101)}
    for seed in range(5):
        drawn = draw(labels, SHARES, "train", seed)
        assert Counter(drawn.values()) == {"train": 50, "val": 20, "test": 30}
        assert Counter(drawn[i] for i in labels if 1 in labels[i]) == {"train": 5, "val": 2, "test": 3}


def test_sizes_are_rounded_half_up() -> None:
    # 0.2 * 13 = 2.6 and 0.3 * 13 = 3.9
    assert Counter(draw({i: {0} for i in range(13)}, SHARES, "train", 0).values()) == {"train": 6, "val": 3, "test": 4}


def test_the_seed_decides_which_and_the_order_of_the_images_does_not() -> None:
    labels = {i: {i % 3} for i in range(60)}
    assert draw(labels, SHARES, "train", 1) == draw(dict(reversed(labels.items())), SHARES, "train", 1)
    assert draw(labels, SHARES, "train", 1) != draw(labels, SHARES, "train", 2)


def test_one_missing_split_alone() -> None:
    assert Counter(draw({i: {0} for i in range(10)}, {"test": 0.4}, "train", 0).values()) == {"train": 6, "test": 4}


@given(st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=40), st.integers(0, 9))
def test_each_image_has_one_split_and_sizes_are_exact(found: list[set[int]], seed: int) -> None:
    drawn = draw(dict(enumerate(found)), SHARES, "train", seed)
    val, test = int(0.2 * len(found) + 0.5), int(0.3 * len(found) + 0.5)
    counts = Counter(drawn.values())
    assert sorted(drawn) == list(range(len(found)))
    assert (counts["val"], counts["test"], counts["train"]) == (val, test, len(found) - val - test)
