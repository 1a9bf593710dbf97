"""YOLO: one text file an image, ``class cx cy width height`` as shares of the image's sides; class names in a list.

Classes are matched by name. Names come from ``data.yaml``, ``obj.names`` (CVAT), ``notes.json`` (Label Studio, whose
``classes.txt`` may be in another order than the numbers it writes) or ``classes.txt``, in this order. An empty file is
unsaid, an image without file untouched; ``states.csv`` may say more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import Field

from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage, Returned, Source
from mgral.annotation.matching import Images
from mgral.annotation.tools import _folders
from mgral.annotation.tools._json import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.files import whole

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
    labels = [s for s in texts if s.name.endswith(".txt") and PurePosixPath(s.name).name not in _LISTS]
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
        boxes = tuple(_box(source, number, line, classes, image) for number, line in _lines(source))
        answers.append(Answer(source.name, "finished", boxes))
    return Returned(_folders.judged(answers, _folders.read_table(sources), batch), "yolo")


def _lines(source: Source) -> list[tuple[int, str]]:
    try:
        text = (source.content or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MgralError(f"{source.place}: not UTF-8 text; export it again") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _box(source: Source, number: int, line: str, classes: Mapping[int, str], image: BatchImage) -> AnswerBox:
    try:
        index, *numbers = line.split()
        if len(numbers) == 4:
            cx, cy, w, h = map(float, numbers)
            x1, y1, x2, y2, hull = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, False
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:  # a polygon, as segmentation labels have it
            xs, ys = [float(x) for x in numbers[::2]], [float(y) for y in numbers[1::2]]
            x1, y1, x2, y2, hull = min(xs), min(ys), max(xs), max(ys), True
        else:
            raise ValueError
        label = int(index)
    except ValueError:
        raise MgralError(f"{source.place}: line {number}: not 'class cx cy width height'; correct it") from None
    if label not in classes:
        raise MgralError(f"{source.place}: line {number}: class {label} has no name; give the list it counts in")
    return AnswerBox(
        classes[label], (x1 * image.width, y1 * image.height, x2 * image.width, y2 * image.height), hull=hull
    )


def _classes(texts: Sequence[Source]) -> dict[int, str] | None:
    """Class names by number; None if no file has them."""
    by_name: dict[str, Source] = {}
    for source in texts:
        by_name.setdefault(PurePosixPath(source.name).name, source)
    for name, reader in _NAMES.items():
        if name in by_name:
            return reader(by_name[name])
    return None


def _from_yaml(source: Source) -> dict[int, str]:
    try:
        names: Any = (yaml.safe_load(source.content or b"") or {}).get("names")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
        raise MgralError(f"{source.place}: not valid YAML; export it again") from None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(number, int) for number in names):
        raise MgralError(f"{source.place}: names is no list of classes; correct it")
    return {number: str(name) for number, name in names.items()}


def _from_notes(source: Source) -> dict[int, str]:
    try:
        return {int(one["id"]): str(one["name"]) for one in parsed(source)["categories"]}
    except (KeyError, TypeError, ValueError):
        raise MgralError(f"{source.place}: has no categories; export it again") from None


def _from_lines(source: Source) -> dict[int, str]:
    return {number: line.strip() for number, (_, line) in enumerate(_lines(source))}


_NAMES: dict[str, Callable[[Source], dict[int, str]]] = {
    "data.yaml": _from_yaml,
    "obj.names": _from_lines,
    "notes.json": _from_notes,
    "classes.txt": _from_lines,
}


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
