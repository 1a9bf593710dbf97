"""Whether a data set suffices for an experiment: what would end a run after its first trainings, found before them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from mgral.config.annotation import Oracle
from mgral.config.base import Positive, Settings
from mgral.config.schema import Budget
from mgral.core.types import SPLITS, Dataset, Split
from mgral.data.pool import shortage

_USES: dict[Split, str] = {"val": "rewards", "test": "results"}


class Params(Settings):
    """What an experiment asks of its data set; a change of it imports nothing again."""

    budget: Budget
    cycles: Positive
    oracle: Oracle = Field(default_factory=Oracle, description="who answers for the labels of a batch")


def unmeasurable(dataset: Dataset) -> str:
    """Why nothing can be measured on val or test; empty if it can."""
    objects = any(len(found) for found in dataset.boxes.values())
    for split, use in _USES.items():
        known = [dataset.boxes[i] for i in dataset.ids(split) if i in dataset.boxes]
        if not known:
            return (
                f"no annotated image in split {split}, where {use} come from; annotate some, or set "
                f"dataset.splits.{split} above 0"
            )
        if objects and not any((~found.ignore).any() for found in known):
            return (
                f"no object in the {len(known)} annotated images of {split}, where {use} come from; annotate some, "
                "or draw other splits"
            )
    return ""


def unfit(dataset: Dataset, asked: Params) -> str:
    """Why a run on a data set must fail; empty if it need not."""
    train = dataset.ids("train")
    annotated = sum(i in dataset.boxes for i in train)
    initial = asked.budget.initial
    if initial != "all" and initial > annotated:
        return (
            f"{annotated} annotated images in the train split, budget.initial asks for {initial}; lower it or annotate "
            "more"
        )
    return unmeasurable(dataset) or exhausted(len(train), asked) or _unanswered(len(train), annotated, asked)


def exhausted(images: int, asked: Params) -> str:
    """Why no image is left for a batch of a later cycle, in a pool of so many; empty if some are, or may join."""
    budget = asked.budget
    if budget.initial == "all" or budget.unit != "images" or asked.oracle.kind == "people" or asked.cycles < 2:
        return ""
    if budget.initial + (asked.cycles - 2) * budget.batch < images:
        return ""  # the last batch may be smaller
    return shortage(images, budget.initial, budget.batch, asked.cycles)


def _unanswered(images: int, annotated: int, asked: Params) -> str:
    """Why the data set cannot answer for the labels of all batches; empty if it can, or people do."""
    budget = asked.budget
    if budget.initial == "all" or budget.unit != "images" or asked.oracle.kind == "people":
        return ""
    wanted = min(budget.initial + (asked.cycles - 1) * budget.batch, images)
    if wanted <= annotated:
        return ""
    return (
        f"the run labels {wanted} images of train, of which {annotated} are annotated, and oracle {asked.oracle.kind} "
        "takes labels from there; annotate more, lower the budget, or set oracle: people"
    )


def doubts(dataset: Dataset, asked: Params) -> list[str]:
    """What a run can meet and its user should know before, a line each with the remedy."""
    budget, train = asked.budget, dataset.ids("train")
    found = []
    if budget.unit == "images" and asked.oracle.kind != "people":
        found.append(shortage(len(train), budget.initial, budget.batch, asked.cycles))
    bare = [dataset.images[i].file_name for i in train if i not in dataset.boxes]
    if bare and asked.oracle.kind != "people" and asked.cycles > 1:
        found.append(
            f"{len(bare)} images of train are not annotated, {bare[0]} first, and a batch that holds one ends the run: "
            "annotate them, leave them out, or set oracle: people"
        )
    return [line for line in found if line] + list(classes(dataset))


def classes(dataset: Dataset) -> Iterator[str]:
    """Classes without boxes in a split."""
    for split in SPLITS:
        seen: set[int] = set()
        for i in dataset.ids(split):
            if i in dataset.boxes:
                boxes = dataset.boxes[i]
                seen.update(boxes.labels[~boxes.ignore].tolist())
        missing = [name for k, name in enumerate(dataset.classes) if k not in seen]
        if missing:
            what = "cannot be learnt" if split == "train" else "has no AP there"
            yield (
                f"{split}: no boxes of {_some(missing)}: such a class {what}; change dataset.splits.seed or "
                "annotate some"
            )


def _some(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more classes" if len(names) > most else ""
    return ", ".join(names[:most]) + more
