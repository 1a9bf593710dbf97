"""The labels of a cycle: returned files and the batch they answer, as a pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.annotation import box_rules, matching, plausibility, reconciling
from mgral.annotation.box_rules import LabelBox
from mgral.annotation.exchange import Answer, Batch, BatchImage, Returned, State
from mgral.config.annotation import AnnotationRules
from mgral.core.errors import MgralError
from mgral.core.files import read_json, write_json
from mgral.core.types import Boxes, Dataset, Image


@dataclass(frozen=True)
class Settled:
    """What is known of one image when all files are read.

    Attributes:
        id: of the image.
        asked: whether the batch asked for it.
        state: the first of :data:`mgral.annotation.reconciling.ORDER` that anybody gave it.
        boxes: its labels, if it is finished.
        people: who finished it, each with what is known of the answer: who, at, seconds, tool, version, file.
        agreement: of these people.
        shown: whether predictions were shown.
    """

    id: int
    asked: bool
    state: State
    boxes: tuple[LabelBox, ...] = ()
    people: tuple[Mapping[str, Any], ...] = ()
    agreement: reconciling.Agreement = field(default_factory=reconciling.Agreement)
    shown: bool = True


@dataclass(frozen=True)
class Outcome:
    """All images of a batch, and others that came back, by id; and counts of what was done to boxes."""

    images: Mapping[int, Settled]
    counts: Mapping[str, int]

    def ids(self, *states: State) -> list[int]:
        """Ids of the images in these states, ascending."""
        return [i for i, image in self.images.items() if image.state in states]


def settle(
    batch: Batch,
    extras: Sequence[BatchImage],
    files: Sequence[tuple[str, Returned]],
    classes: Sequence[str],
    names: Mapping[str, str],
    rules: AnnotationRules,
) -> Outcome:
    """What all returned files say together.

    Args:
        batch: that was asked.
        extras: other images that answers may be about; they are taken if ``rules.extra`` says so.
        files: name and content of each returned file, in the order they came.
        classes: of the data set from this cycle on.
        names: the data set's name of a class that the tool calls otherwise, or ``ignore``.
        rules: the group ``annotation`` of the experiment.

    Raises:
        MgralError: an answer that cannot be taken; names the file.
    """
    counts: Counter[str] = Counter()
    images = {image.id: image for image in (*batch.images, *extras)}
    asked = {image.id for image in batch.images}
    known = matching.Images(images.values())
    found: dict[int, list[tuple[Answer, Mapping[str, Any]]]] = {}
    for name, returned in files:
        counts.update(returned.notes)
        about = {"tool": returned.tool, "version": returned.version, "file": name}
        try:
            matched = matching.match(returned, batch, known)
            for i, answers in matched.items():
                found.setdefault(i, []).extend((answer, about) for answer in answers)
        except MgralError as error:
            raise MgralError(f"{name}: {error}") from None
        plausibility.check(name, ((images[i], answer) for i, answers in matched.items() for answer in answers))
    settled = {}
    for i in sorted(asked | found.keys()):
        if i not in asked and rules.extra == "refuse":
            raise MgralError(
                f"{found[i][0][1]['file']}: image {i} ({images[i].file_name}) was not asked for in this batch; take it "
                "with annotation.extra: take, or remove it"
            )
        settled[i] = _settled(images[i], i in asked, found.get(i, []), classes, names, rules, counts)
    return Outcome(settled, {key: times for key, times in sorted(counts.items()) if times})


def _settled(
    image: BatchImage,
    asked: bool,
    found: Sequence[tuple[Answer, Mapping[str, Any]]],
    classes: Sequence[str],
    names: Mapping[str, str],
    rules: AnnotationRules,
    counts: Counter[str],
) -> Settled:
    """One image."""
    answers = [(replace(answer, state=_said(answer, rules)), about) for answer, about in found]
    chosen = reconciling.one_each([answer for answer, _ in answers])
    state = reconciling.state_of(chosen)
    if state != "finished":
        return Settled(image.id, asked, state, shown=image.shown)
    finished = [answer for answer in chosen if answer.state == "finished"]
    people: dict[str, Sequence[LabelBox]] = {}
    notes = []
    for answer in finished:
        place = next(place for place, (one, _) in enumerate(answers) if one is answer)
        about = answers[place][1]
        later = [one for one, other in found[place + 1 :] if other["file"] != about["file"] and one.who == answer.who]
        if answer.boxes and any(one.state == "unsaid" and not one.boxes for one in later):
            counts["images that came back without boxes later: the boxes returned before stay"] += 1
        try:
            people[answer.who] = box_rules.fit(answer, image, classes, names, counts)
        except MgralError as error:
            raise MgralError(f"{about['file']}: {error}") from None
        notes.append({"who": answer.who, "at": answer.at, "seconds": answer.seconds, **about})
    boxes, agreement = reconciling.join(people, rules.match_iou, rules.conflicts)
    return Settled(image.id, asked, "finished", boxes, tuple(notes), agreement, image.shown)


def _said(answer: Answer, rules: AnnotationRules) -> State:
    """The state of an answer, where the tool cannot tell: ``empty`` is said of images without boxes alone."""
    if answer.state != "unsaid" or rules.unsaid == "refuse":
        return answer.state
    return "finished" if rules.unsaid == "empty" and not answer.boxes else "untouched"


def open_images(outcome: Outcome, annotators: int) -> list[int]:
    """Ids of asked images that somebody still has to answer: by fewer people than wanted, or by none."""
    return [
        i
        for i, image in outcome.images.items()
        if image.asked
        and (
            image.state in ("draft", "untouched", "unsaid")
            or (image.state == "finished" and len(image.people) < annotators)
        )
    ]


def apply(dataset: Dataset, outcome: Outcome, classes: Sequence[str], added: Iterable[Image] = ()) -> Dataset:
    """The data set of the next cycle: images join it, the boxes of finished ones are replaced, all else stays.

    Args:
        dataset: of this cycle.
        outcome: what people said.
        classes: of the next cycle; they begin with those of the data set.
        added: images that were registered since; their ids are new.

    Raises:
        MgralError: the classes do not, a finished image is not in the data set or not in train, or one that joins is in
            it already.
    """
    if tuple(classes[: len(dataset.classes)]) != dataset.classes:
        raise MgralError("annotation.classes: classes are only appended, or indices would change; keep those there are")
    names = {image.file_name for image in dataset.images.values()}
    images = dict(dataset.images)
    for image in added:
        if image.id in images or image.file_name in names:
            raise MgralError(
                f"image {image.id} ({image.file_name}) joins the data set, which has that id or file already; restore "
                "images.json and closed.json (git, or `dvc pull`)"
            )
        images[image.id] = image
    boxes = dict(dataset.boxes)
    for i in outcome.ids("finished"):
        if i not in images:
            raise MgralError(f"image {i} is not in the data set; run `mgral register` and import it")
        if images[i].split != "train":
            raise MgralError(
                f"image {i} ({images[i].file_name}) is in {images[i].split}, whose labels do not "
                "change with a batch; remove it from the returned file"
            )
        boxes[i] = _boxes(outcome.images[i].boxes, len(classes))
    ordered = {i: boxes[i] for i in sorted(boxes)}
    return replace(dataset, classes=tuple(classes), images={i: images[i] for i in sorted(images)}, boxes=ordered)


def _boxes(found: Iterable[LabelBox], classes: int) -> Boxes:
    """A box to ignore whose class is none of the data set's is to be ignored by each class."""
    rows = [
        (box.xyxy, label, box.ignore) for box in found for label in ([box.label] if box.label >= 0 else range(classes))
    ]
    if not rows:
        return Boxes.empty()
    return Boxes(
        np.array([row[0] for row in rows], np.float32),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.bool_),
    )


def write(batch: Batch, outcome: Outcome, path: str | Path, added: Iterable[Image] = ()) -> None:
    """Write ``labels.json``: every image with its state, its labels, and where they come from; what was planned.

    Of images that join the data set, ``added`` has the ids.
    """
    counts = zip(batch.images, batch.plan.detections, strict=True) if batch.plan else ()
    detections = {image.id: {"detections": count} for image, count in counts}
    images = [
        {
            "id": image.id,
            "asked": image.asked,
            "state": image.state,
            "shown": image.shown,
            "boxes": [
                {"label": box.label, "xyxy": list(box.xyxy), "ignore": box.ignore, "origin": box.origin}
                for box in image.boxes
            ],
            "people": [dict(one) for one in image.people],
            **({"agreement": image.agreement.f1} if len(image.people) > 1 else {}),
            **detections.get(image.id, {}),
        }
        for image in outcome.images.values()
    ]
    head = {"batch": batch.id, "experiment": batch.experiment, "cycle": batch.cycle}
    plan = {"plan": batch.plan.summary} if batch.plan else {}
    joined = {"added": ids} if (ids := [image.id for image in added]) else {}
    write_json(path, {**head, **plan, "counts": dict(outcome.counts), "images": images, **joined})


def read_states(path: str | Path) -> tuple[dict[int, State], list[int], list[int]]:
    """The state of each image in ``labels.json``, which were asked for, and which join. Raises MgralError if none."""
    data: Any = read_json(path)
    try:
        asked = [int(image["id"]) for image in data["images"] if image["asked"]]
        added = [int(i) for i in data.get("added", [])]
        return {int(image["id"]): image["state"] for image in data["images"]}, asked, added
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{path}: not the labels of a cycle; run `mgral labels` again") from None
