"""The pool: which images are labelled, since when, and which are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mgral.core import random_streams
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.core.types import Dataset
from mgral.data import stratified_split


@dataclass(frozen=True)
class Pool:
    """State of the pool at the start of a cycle.

    Attributes:
        cycle: the cycle that trains on ``labelled``.
        labelled: image id → cycle for which it was labelled (0: initial pool).
        unlabelled: ids, ascending; disjoint from ``labelled``.
        resting: ids that people skipped in the cycle before, ascending; they are unlabelled again in the next.
    """

    cycle: int
    labelled: dict[int, int]
    unlabelled: tuple[int, ...]
    resting: tuple[int, ...] = ()

    @property
    def labelled_ids(self) -> list[int]:
        """Labelled ids, ascending."""
        return sorted(self.labelled)


def initial_pool(annotated: Iterable[int], size: int, seed: int, others: Iterable[int] = ()) -> Pool:
    """Draw the pool of cycle 0: ``size`` images uniformly, without replacement.

    Args:
        annotated: ids of the images that the oracle has annotated; the draw is among these.
        size: images wanted (budget.initial).
        seed: of the experiment.
        others: ids of images that nobody has annotated yet; they wait in the pool.

    Raises:
        MgralError: fewer annotated images than ``size``.
    """
    candidates = sorted(annotated)
    check_size(candidates, size)
    drawn = random_streams.generator(seed, "initial pool").choice(candidates, size=size, replace=False)
    return started(drawn.tolist(), [*candidates, *others])


def check_size(annotated: Sized, size: int) -> None:
    """Refuse an initial pool of more images than are annotated. Raises MgralError."""
    if size > len(annotated):
        raise MgralError(
            f"pool exhausted: {len(annotated)} annotated images in the train split, budget.initial asks for {size}; "
            "lower it or annotate more"
        )


def started(chosen: Collection[int], ids: Iterable[int]) -> Pool:
    """The pool of cycle 0 with some of its images labelled; ``ids`` are all of them, in any order."""
    return Pool(0, dict.fromkeys(sorted(chosen), 0), tuple(sorted(set(ids).difference(chosen))))


def annotate(
    pool: Pool,
    ids: Iterable[int],
    skipped: Collection[int] = (),
    cannot: Collection[int] = (),
    added: Collection[int] = (),
) -> Pool:
    """The pool of the next cycle: ``ids`` move from unlabelled to labelled.

    Args:
        pool: of this cycle.
        ids: that were labelled.
        skipped: unlabelled ids that people put off; they rest for a cycle.
        cannot: unlabelled ids that cannot be labelled; they leave the pool for good.
        added: ids of images that join now; they may be among ``ids``.

    Raises:
        MgralError: an id is unknown, labelled already, or listed twice.
    """
    ids = list(ids)
    unlabelled = {*pool.unlabelled, *added}
    for i in ids:
        if i not in unlabelled:
            state = "is labelled already" if i in pool.labelled else "is not in the pool"
            raise MgralError(f"image {i} {state}; a batch holds each unlabelled image once")
        unlabelled.remove(i)
    cycle = pool.cycle + 1
    labelled = {**pool.labelled, **dict.fromkeys(ids, cycle)}
    resting = unlabelled.intersection(skipped)
    left = (unlabelled | set(pool.resting)) - resting - set(cannot)
    return Pool(cycle, dict(sorted(labelled.items())), tuple(sorted(left)), tuple(sorted(resting)))


def shortage(images: int, initial: int | Literal["all"], batch: int, cycles: int) -> str:
    """Why the images of train do not suffice for all cycles of an experiment; empty if they do.

    >>> shortage(50, 20, 15, 4)
    'budget.initial 20 and 3 batches of 15 need 65 images, but train has 50; lower the budget or cycles'
    """
    needed = 0 if initial == "all" else initial + (cycles - 1) * batch
    if needed <= images:
        return ""
    return (
        f"budget.initial {initial} and {cycles - 1} batches of {batch} need {needed} images, but train has {images}; "
        "lower the budget or cycles"
    )


def hold_out(pool: Pool, classes: Mapping[int, Collection[int]], share: float, seed: int) -> Pool:
    """The pool of replay proxies: a part of the labelled images, taken for unlabelled, and the other part.

    Args:
        pool: of the cycle.
        classes: by image id, the classes in it; each class gives up its share.
        share: of the labelled images that is held out, 0..1.
        seed: of the experiment; each cycle holds out another part.

    Raises:
        MgralError: fewer than 2 images held out, too few for a batch of half of them, or none left.
    """
    labels = {i: classes.get(i, ()) for i in pool.labelled}
    parts = stratified_split.draw(
        labels, {"held out": share}, "kept", random_streams.stream(seed, "hold out", pool.cycle)
    )
    held_out = tuple(i for i in pool.labelled_ids if parts[i] == "held out")
    if len(held_out) < 2 or len(held_out) == len(parts):
        raise MgralError(
            f"proxy.holdout: {share} holds out {len(held_out)} of {len(parts)} labelled images; at least 2 must be "
            "held out and one kept: change it, raise budget.initial, or annotate more images before the first cycle"
        )
    return Pool(pool.cycle, {i: pool.labelled[i] for i in pool.labelled_ids if parts[i] == "kept"}, held_out)


def part(pool: Pool, share: float, seed: int, draw: int) -> Pool:
    """A pool with a random part of the labelled images; the others are in no place of it.

    Args:
        pool: of a cycle.
        share: of the labelled images that stay, 0..1; at least two.
        seed: of the experiment.
        draw: another number draws another part.
    """
    ids = pool.labelled_ids
    size = max(2, round(share * len(ids)))
    rng = random_streams.generator(seed, "part of the pool", pool.cycle, draw)
    kept = sorted(rng.choice(ids, size=min(size, len(ids)), replace=False).tolist())
    return Pool(pool.cycle, {i: pool.labelled[i] for i in kept}, pool.unlabelled, pool.resting)


def replay_batch(batch: int, held_out: int) -> int:
    """Images in a replay batch: as many as are annotated a cycle, but at most half of those held out.

    Of larger batches any two would be mostly the same images.
    """
    return min(batch, held_out // 2)


def write_pool(pool: Pool, path: str | Path) -> None:
    """Write ``pool.json``."""
    labelled = [{"id": i, "cycle": cycle} for i, cycle in sorted(pool.labelled.items())]
    rest = {"resting": list(pool.resting)} if pool.resting else {}
    write_json(path, {"cycle": pool.cycle, "labelled": labelled, "unlabelled": list(pool.unlabelled), **rest})


def read_pool(path: str | Path, dataset: Dataset | None = None) -> Pool:
    """Read ``pool.json``.

    Args:
        path: of the file.
        dataset: that the pool must be of; None: it is not checked.

    Raises:
        MgralError: not a pool, an id that is listed twice, or an image that the data set lacks or has no annotation of.
    """
    data = read_json(path)
    try:
        labelled = [(_whole(entry["id"]), _whole(entry["cycle"])) for entry in data["labelled"]]
        unlabelled = sorted(_whole(i) for i in data["unlabelled"])
        resting = sorted(_whole(i) for i in data.get("resting", []))
        pool = Pool(_whole(data["cycle"]), dict(labelled), tuple(unlabelled), tuple(resting))
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{path}: not a pool (cycle, labelled, unlabelled); make it with `mgral pool`") from None
    for i, cycle in labelled:
        if cycle > pool.cycle:
            raise MgralError(f"{path}: image {i} is labelled in cycle {cycle}, after cycle {pool.cycle} of the pool")
    for i, times in Counter([*(i for i, _ in labelled), *unlabelled, *resting]).items():
        if times > 1:
            raise MgralError(f"{path}: image {i} is listed {times} times; list it once")
        if dataset is not None and i not in dataset.images:
            raise MgralError(f"{path}: image {i} is not in the data set; run `mgral pool` again")
        if dataset is not None and dataset.images[i].split != "train":
            split = dataset.images[i].split
            raise MgralError(
                f"{path}: image {i} is of split {split}, not of the pool (train); draw it with `mgral pool`"
            )
        if dataset is not None and i in pool.labelled and i not in dataset.boxes:
            raise MgralError(f"{path}: image {i} is labelled, but not annotated in the data set; import it with labels")
    return pool


def check_complete(pool: Pool, dataset: Dataset, path: str | Path) -> None:
    """Refuse the pool of a cycle that has lost images of the data set. Not for pools of replay, which hold a part.

    Raises:
        MgralError: an image of train is neither labelled nor unlabelled.
    """
    there = {*pool.labelled, *pool.unlabelled, *pool.resting}
    lost = [i for i in dataset.ids("train") if i not in there]
    if lost:
        name = dataset.images[lost[0]].file_name
        raise MgralError(
            f"{path}: {len(lost)} images of the data set are missing, image {lost[0]} ({name}) first; it is of another "
            "data set or was cut: run `mgral pool` again"
        )


def _whole(value: object) -> int:
    """A number of a JSON file that counts something. Raises ValueError for text, fractions, truth values, negatives."""
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
