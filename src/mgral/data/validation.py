"""From a source to a data set: with ``_objects``, the one place that decides what is a fault in any format."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mgral.config.schema import Splits
from mgral.core.types import SPLITS, Boxes, Dataset, Image, Split
from mgral.data import box_validation, identity, image_files
from mgral.data.faults import Findings, shown
from mgral.data.raw import RawImage, Sheet, Source

_LARGEST_ID = 2**53 - 1  # exact in JSON readers that know only doubles


@dataclass(frozen=True)
class _Named:
    """An image whose name is sound: ``file_name`` in its plainest form and the ``path`` it leads to."""

    raw: RawImage
    file_name: str
    path: Path


@dataclass(frozen=True)
class _Sound:
    """An image that passed. ``boxes`` is None for one that nobody has annotated."""

    named: _Named
    size: tuple[int, int]
    boxes: Boxes | None


def assemble(
    source: Source, splits: Splits, report: Findings, known: identity.Known | None = None
) -> tuple[Dataset, dict[str, Any]]:
    """Judge a source and put it into canonical form.

    Args:
        source: as its format read it.
        splits: shares of the splits that have to be drawn.
        report: takes the faults.
        known: images whose ids and splits were drawn before; they keep them.

    Returns:
        The data set, and for its ``info`` where its ids come from and which splits were drawn.

    Raises:
        MgralError: a fault, with ``on_invalid: fail``; in either mode a file name that leaves the image root,
            no classes, no images, or none left for the pool.
    """
    if not source.images:
        report.refuse(".", "", "no images", "check dataset.root and dataset.options")
    classes = _classes(source, report)
    named = _named(source, report)
    ids, kept = _ids(named, source.keys_are_ids, known)
    sound = _sound(source, named, classes, report)
    if not sound:
        report.refuse(".", "", "no image is left", f"mend the {len(report.dropped)} faults found")

    by_id = dict(sorted((ids[item.named.file_name], item) for item in sound))
    split, drawn = _split(by_id, splits, report, known)
    if "train" not in split.values():
        report.refuse(".", "", "no image for the pool (train)", "check the split lists and dataset.splits")
    dataset = Dataset(
        classes=tuple(classes),
        images={i: Image(i, item.named.file_name, *item.size, split[i]) for i, item in by_id.items()},
        boxes={i: item.boxes for i, item in by_id.items() if item.boxes is not None},
        root=source.image_root,
    )
    made: dict[str, Any] = {"ids": "own" if kept else "by file name", "splits_drawn": drawn}
    if known is not None:
        made["splits"] = splits.model_dump(mode="json")  # a first import does not note them, its draw can be repeated
        made["kept"] = sum(item.named.file_name in known.splits for item in sound)
    return dataset, made


def _classes(source: Source, report: Findings) -> list[str]:
    """Class names in order of index."""
    names = source.classes
    if names is None:
        found = [item.label for sheet in source.sheets.values() for item in sheet.objects]
        names = sorted({label for label in found if image_files.is_name(label)})
    if not names:
        report.refuse(".", "", "no classes", "check that the annotations are found and name their classes")
    for name in names:
        if not image_files.is_name(name):
            report.refuse(".", f"class {shown(name)}", "not a class name", "give each class a name of one line")
        if names.count(name) > 1:
            report.refuse(".", f"class '{name}'", "stands twice", "give each class a name of its own")
    return names


def _named(source: Source, report: Findings) -> list[_Named]:
    """Images whose names are sound, stand once and in one split."""
    named: list[_Named] = []
    keys: set[Hashable] = set()
    splits: dict[Path, set[Any]] = {}
    for raw in source.images:
        item = _below(raw, source.image_root, report)
        if item is None:
            continue
        if raw.split not in (None, *SPLITS):
            what = f"unknown split {shown(raw.split)}"
            report.fault(raw.file, _image(raw), what, "use train, val or test")
        elif source.keys_are_ids and not _is_id(raw.key):
            report.fault(raw.file, _image(raw), "id is not a whole number from 0", "number the images")
        elif item.path in splits:
            if raw.split in splits[item.path]:
                what = f"file name '{item.file_name}' stands twice"
                report.fault(raw.file, _image(raw), what, "list each image once")
            splits[item.path].add(raw.split)
        elif raw.key in keys:
            what = f"id stands twice, the second time for '{item.file_name}'"
            report.fault(raw.file, _image(raw), what, "give each image an id of its own")
        else:
            splits[item.path] = {raw.split}
            keys.add(raw.key)
            named.append(item)
    for item in named:
        if len(splits[item.path]) > 1:
            both = " and ".join(sorted(str(split) for split in splits[item.path]))
            what = f"image '{item.file_name}' is in two splits ({both})"
            report.fault(item.raw.file, _image(item.raw), what, "keep it in one, or the scores are too good")
    return [item for item in named if len(splits[item.path]) == 1]


def _below(raw: RawImage, root: Path, report: Findings) -> _Named | None:
    """The image with its path below the image root; None if it was left out for an unfit name."""
    if not image_files.is_name(raw.file_name):
        what = f"unfit file name {shown(raw.file_name)}"
        report.fault(raw.file, _image(raw), what, "give file_name as text of one line")
        return None
    try:
        return _Named(raw, *image_files.below(root, raw.file_name))
    except image_files.OutsideError:
        what = f"file name {shown(raw.file_name)} leaves the image root"
        report.refuse(raw.file, _image(raw), what, "put the image below the root and name it from there")


def _ids(named: list[_Named], keys_are_ids: bool, known: identity.Known | None) -> tuple[dict[str, int], bool]:
    """Canonical ids by file name, and whether they are the data set's own numbers.

    Own numbers are the ids of the format, or the digits that every stem ends in. They are kept if they differ
    and begin at 1 or later; else images count from 1 in order of file name. An image that is known keeps its id.
    """
    names = sorted(item.file_name for item in named)
    if keys_are_ids:
        numbers = {item.file_name: _own_id(item.raw.key) for item in named}
    else:
        ends = {name: re.search(r"(?<![0-9])[0-9]{1,15}$", Path(name).stem) for name in names}
        numbers = {name: int(end.group()) for name, end in ends.items() if end}
    if known is not None:
        return known.number(names, numbers), known.own_ids
    if len(set(numbers.values())) == len(names) and min(numbers.values(), default=0) >= 1:
        return numbers, True
    return {name: number for number, name in enumerate(names, start=1)}, False


def _sound(source: Source, named: list[_Named], classes: list[str], report: Findings) -> list[_Sound]:
    """Decode every image and judge its annotation."""
    known = {raw.key for raw in source.images}
    for key, sheet in source.sheets.items():
        if key not in known:
            for id in [item.id for item in sheet.objects] or [""]:
                report.fault(sheet.file, id, "annotation for an unknown image", "add the image or remove this")

    index = {name: label for label, name in enumerate(classes)}
    seen: set[tuple[str, str]] = set()
    sound = []
    for item in tqdm(named, desc="checking images", unit="", disable=None):
        raw = item.raw
        own = source.sheets.get(raw.key)
        with_it = f" (with its {len(own.objects)} objects)" if own and own.objects else ""
        try:
            size = image_files.size(item.path)
        except ValueError as error:
            report.fault(raw.file, _image(raw), f"'{item.file_name}': {error}{with_it}", "restore the file")
            continue
        if own is None:
            if source.without_sheet == "fault":
                report.fault(raw.file, _image(raw), "has no annotation file", "add one or unlist the image")
            else:
                empty = Boxes.empty() if source.without_sheet == "empty" else None
                sound.append(_Sound(item, size, empty))
        elif _disagrees(own, size):
            said = " x ".join(str(side) for side in own.size or ())
            what = f"size {said} disagrees with the file's {size[0]} x {size[1]}{with_it}"
            report.fault(own.file, _image(raw), what, "correct the size, or turn the pixels as EXIF says")
        else:
            sound.append(_Sound(item, size, box_validation.judge(own, source.layout, size, index, seen, report)))
    return sound


def _split(
    sound: Mapping[int, _Sound], params: Splits, report: Findings, known: identity.Known | None
) -> tuple[dict[int, Split], list[str]]:
    """The split of every id, and the names of the splits that were drawn, now or before.

    Splits that the data set brings stay as they are; an image in none of them belongs to train. Those it lacks
    are drawn from the annotated images of train, as shares of all annotated images: one that nobody has
    annotated can only wait in the pool. What was drawn before is not drawn again.
    """
    split: dict[int, Split] = {}
    for i, item in sound.items():
        try:
            given = item.named.raw.split
            split[i] = known.split(item.named.file_name, given) if known is not None else given or "train"
        except ValueError as error:
            report.refuse(item.named.raw.file, _image(item.named.raw), str(error), "leave it in its split")
    labels = {i: set(item.boxes.labels.tolist()) for i, item in sound.items() if item.boxes is not None}
    if known is not None and known.closed:
        return split, list(known.drawn)
    split, drawn = identity.draw_missing(split, labels, params)
    return split, list(dict.fromkeys([*(known.drawn if known is not None and known.splits else []), *drawn]))


def _image(raw: RawImage) -> str:
    return f"image {_own_id(raw.key)}"


def _own_id(key: Hashable) -> Any:
    """The name within its file: keys of several files are pairs (file, id)."""
    return key[-1] if isinstance(key, tuple) else key


def _is_id(key: Hashable) -> bool:
    number = _own_id(key)
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LARGEST_ID


def _disagrees(sheet: Sheet, size: tuple[int, int]) -> bool:
    return sheet.size is not None and tuple(box_validation.number(side) for side in sheet.size) != size
