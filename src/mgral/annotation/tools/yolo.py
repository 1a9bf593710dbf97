"""YOLO: one text file an image, ``class cx cy width height`` as shares of the image's sides; class names in a list.

Classes are matched by name. Names come from ``data.yaml``, ``obj.names`` (CVAT), ``notes.json`` (Label Studio, whose
``classes.txt`` may be in another order than the numbers it writes) or ``classes.txt``; several must agree. An
empty file is unsaid, an image without file untouched; ``states.csv`` may say more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import Field

from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage, Returned, Source
from mgral.annotation.matching import Images
from mgral.annotation.tools import _folders, _objects
from mgral.annotation.tools._json import parsed
from mgral.config.base import Settings
from mgral.config.loading import parse_yaml
from mgral.core.errors import MgralError, shown
from mgral.core.files import whole
from mgral.data import yolo_labels
from mgral.data.box_validation import number

STATES = _folders.STATES
_LISTS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt"}


class Options(Settings):
    """What is written."""

    images: bool = Field(default=True, description="copy the images beside the labels")
    predictions: bool = Field(
        default=False, description="write predicted boxes as labels; ones that come back unchanged are unsaid"
    )


def export(batch: Batch, folder: Path, options: Options) -> list[Path]:
    """Write ``data.yaml``, ``classes.txt``, ``states.csv``, the images, and labels of predictions if asked for."""
    files = _names(batch, folder)
    if options.predictions:
        files += _labels(batch, _folders.of_predictions(batch), folder)
    files.append(_folders.write_table(batch.images, {}, folder / _folders.TABLE))
    return files + (_folders.copy_images(batch, folder / "images") if options.images else [])


def read(sources: Sequence[Source], batch: Batch, options: Options) -> Returned:
    """Read label files; sizes are those of the batch, since the format has none.

    Raises:
        MgralError: no class names, a line that is no box, or a number that no class has.
    """
    texts = [source for source in sources if source.content is not None]
    labels = [source for source in texts if source.is_text(".txt") and _bare(source) not in _LISTS]
    classes = _classes(texts)
    if classes is None:
        place = sources[0].place if sources else "nothing"
        raise MgralError(
            f"{place}: no class names; give data.yaml, obj.names, notes.json or classes.txt with the labels"
        )
    images = Images(batch.images)
    answers = []
    for source in labels:
        answer = Answer(source.name, "finished")
        image = images.by_id[images.find(answer, batch.id)]
        assert isinstance(image, BatchImage)
        boxes = tuple(_box(source, place, line, classes, image) for place, line in _lines(source))
        answers.append(Answer(source.name, "finished", boxes))
    return Returned(_folders.judged(answers, _folders.read_table(sources), batch), "yolo")


def _lines(source: Source) -> list[tuple[int, str]]:
    try:
        text = (source.content or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MgralError(f"{source.place}: not UTF-8 text; export it again") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _box(source: Source, place: int, line: str, classes: Mapping[int, str], image: BatchImage) -> AnswerBox:
    index, *given = line.split()
    label, numbers = yolo_labels.index(index), [value for text in given if (value := number(text)) is not None]
    hull = len(given) >= 6 and len(given) % 2 == 0  # a polygon, as segmentation labels have it
    if label is None or len(numbers) != len(given) or not (len(given) == 4 or hull):
        raise MgralError(f"{source.place}: line {place}: not 'class cx cy width height'; correct it")
    if not all(map(math.isfinite, numbers)):
        raise MgralError(f"{source.place}: line {place}: holds a number that is not finite; correct it")
    if hull:
        x1, y1, x2, y2 = _objects.around(numbers[::2], numbers[1::2])
    else:
        cx, cy, w, h = numbers
        x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if label not in classes:
        raise MgralError(f"{source.place}: line {place}: class {label} has no name; give the list it counts in")
    return AnswerBox(
        classes[label], (x1 * image.width, y1 * image.height, x2 * image.width, y2 * image.height), hull=hull
    )


def _classes(texts: Sequence[Source]) -> dict[int, str] | None:
    """Class names by number; None if no file has them.

    Raises:
        MgralError: two lists give one number different names. LabelImg writes a ``classes.txt`` of its own beside the
            labels, and they count in it.
    """
    lists = sorted((source for source in texts if _bare(source) in _NAMES), key=lambda one: _ORDER.index(_bare(one)))
    by_notes = {PurePosixPath(source.name).parent for source in lists if _bare(source) == "notes.json"}
    names: dict[int, str] = {}
    origin: dict[int, str] = {}
    for source in lists:
        if _bare(source) == "classes.txt" and PurePosixPath(source.name).parent in by_notes:
            continue  # of Label Studio, in another order than its numbers
        for index, name in _NAMES[_bare(source)](source).items():
            if names.setdefault(index, name) != name:
                what = f"class {index} is {shown(name)} here and {shown(names[index])} in {origin[index]}"
                raise MgralError(f"{source.place}: {what}; leave the list that the labels count in")
            origin.setdefault(index, source.place)
    return names if lists else None


def _bare(source: Source) -> str:
    """The file's name, in lower case."""
    return PurePosixPath(source.name).name.lower()


def _from_yaml(source: Source) -> dict[int, str]:
    try:
        content = parse_yaml((source.content or b"").decode("utf-8-sig"), source.place)
    except UnicodeDecodeError:
        raise MgralError(f"{source.place}: not UTF-8 text; export it again") from None
    given = content.get("names") if isinstance(content, dict) else None
    names: dict[Any, Any] = dict(enumerate(given)) if isinstance(given, list) else {}
    for key, name in given.items() if isinstance(given, dict) else ():
        names[int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 9 else key] = name
    if not isinstance(given, list | dict) or not all(type(index) is int for index in names) or len(names) != len(given):
        raise MgralError(f"{source.place}: names is no list of classes; correct it")
    return {index: str(name) for index, name in names.items()}


def _from_notes(source: Source) -> dict[int, str]:
    try:
        return {int(one["id"]): str(one["name"]) for one in parsed(source)["categories"]}
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{source.place}: has no categories; export it again") from None


def _from_lines(source: Source) -> dict[int, str]:
    """The lines, numbered from 0. Raises MgralError for a blank one between others: those after it may keep theirs."""
    lines = _lines(source)
    for place, (line, _) in enumerate(lines, start=1):
        if line != place:
            raise MgralError(f"{source.place}: line {place}: blank, so the numbers after it are not clear; remove it")
    return {index: line.strip() for index, (_, line) in enumerate(lines)}


_NAMES: dict[str, Callable[[Source], dict[int, str]]] = {
    "data.yaml": _from_yaml,
    "data.yml": _from_yaml,
    "obj.names": _from_lines,
    "notes.json": _from_notes,
    "classes.txt": _from_lines,
}
_ORDER = list(_NAMES)


def respond(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path) -> list[Path]:
    """Write what a tool returns whose people gave these answers."""
    table = _folders.write_table(batch.images, answers, folder / _folders.TABLE)
    return [*_names(batch, folder), *_labels(batch, answers, folder), table]


def _names(batch: Batch, folder: Path) -> list[Path]:
    names = {"path": ".", "train": "images", "names": dict(enumerate(batch.classes))}
    with whole(folder / "data.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(names, allow_unicode=True, sort_keys=False), encoding="utf-8")
    with whole(folder / "classes.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in batch.classes), encoding="utf-8")
    return [folder / "data.yaml", folder / "classes.txt"]


def _labels(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path) -> list[Path]:
    files = []
    for image in batch.images:
        answer = _folders.one(answers.get(image.id, []), image)
        if answer is None:
            continue
        lines = []
        for box in answer.boxes:
            x1, y1, x2, y2 = box.xyxy
            shares = [(x1 + x2) / 2 / image.width, (y1 + y2) / 2 / image.height]
            shares += [(x2 - x1) / image.width, (y2 - y1) / image.height]
            lines.append(f"{batch.classes.index(box.label)} {' '.join(map(repr, shares))}\n")
        path = folder / "labels" / f"{_folders.stem(image.export_name)}.txt"
        with whole(path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        files.append(path)
    return files
