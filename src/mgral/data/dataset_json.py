"""The canonical form on disk: COCO JSON, readable by pycocotools, plus a split per image.

``info``       where the data set comes from: format, image_root (as given, so a relative one starts at the
               working folder), ids, splits_drawn, dropped, clipped, unlisted, and, where large images are cut,
               tiling: size, overlap, visible
``images``     COCO's keys, and split; ``annotated: false`` marks an image that nobody has annotated, ``tile`` a part of
               a larger one: that image's id, and the part's left and upper side in the file, pixels
``annotations`` COCO's keys, numbered from 1 in order of image id; iscrowd and ignore are 1 for ignored objects
``categories`` numbered from 1 in order of class index
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
from pydantic import ConfigDict, Field

from mgral.config.base import Settings
from mgral.core import boxes
from mgral.core.errors import MgralError
from mgral.core.files import no_collection, read_json, whole
from mgral.core.types import Bools, Boxes, Dataset, Doubles, Image, Ints, Split, Tiling
from mgral.data.faults import line
from mgral.data.image_files import OutsideError, is_name, plain
from mgral.data.locating import Links

Number = Annotated[float, Field(strict=True)]
_LARGEST = 2**53  # of an id or a flag: exact in every JSON reader
Positive = Annotated[int, Field(ge=1, le=_LARGEST, strict=True)]
_Offset = Annotated[int, Field(ge=0, le=_LARGEST, strict=True)]
_AT_ONCE = 4096  # images whose boxes become text at once


class _Group(Settings):
    model_config = ConfigDict(extra="ignore")  # other programs may have added keys of their own


class _Tiling(_Group):
    size: Positive
    overlap: _Offset
    visible: Annotated[float, Field(ge=0, le=1)]


class _Info(_Group):
    image_root: str
    links: int = 0  # symbolic links that the import followed, and checked by its own rule
    tiling: _Tiling | None = None


class _Image(_Group):
    id: Positive
    file_name: str
    width: Positive
    height: Positive
    split: Split
    annotated: bool = True
    since: Annotated[int, Field(ge=0, le=_LARGEST)] = 0
    tile: tuple[Positive, _Offset, _Offset] | None = None


class _Annotation(_Group):
    id: Positive
    image_id: Positive
    category_id: Positive
    bbox: tuple[Number, Number, Number, Number]
    iscrowd: int = 0
    ignore: int = 0


class _Category(_Group):
    id: Positive
    name: str


class _File(_Group):
    """All but the annotations, of which there may be a million."""

    info: _Info
    images: list[_Image]
    categories: list[_Category]


class _Annotations(_Group):
    annotations: list[_Annotation]


@dataclass(frozen=True)
class _Columns:
    """Annotations by their keys, in the order of the file.

    Attributes:
        id, image_id, category_id: [n] int64.
        bbox: [n, 4] float64.
        ignore: [n] bool.
    """

    id: Ints
    image_id: Ints
    category_id: Ints
    bbox: Doubles
    ignore: Bools


def write(dataset: Dataset, info: Mapping[str, Any], path: str | Path) -> None:
    """Write a data set in canonical form.

    Args:
        dataset: the data set.
        info: what the file says about its making, as :func:`mgral.data.importing.import_dataset` returns it;
            image_root is filled in.
        path: of the JSON file.
    """
    categories = [{"id": number, "name": name} for number, name in enumerate(dataset.classes, start=1)]
    head = {**info, "image_root": dataset.root.as_posix()}
    if dataset.tiling is not None:
        head["tiling"] = asdict(dataset.tiling)
    with whole(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{\n "info": {_indented(head, 1)},\n "images": ')
        _write_list(file, _image_texts(dataset))
        file.write(',\n "annotations": ')
        _write_list(file, _annotation_texts(dataset))
        file.write(f',\n "categories": {_indented(categories, 1)}\n}}\n')


def _indented(value: Any, depth: int) -> str:
    """A value as :func:`mgral.core.files.write_json` writes it at a depth; NaN is refused."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).replace("\n", "\n" + " " * depth)


def _write_list(file: TextIO, texts: Iterator[str]) -> None:
    """Write some texts after the other: a data set may hold a million, and is never one text in memory."""
    before = "[\n  "
    while some := list(islice(texts, _AT_ONCE)):
        file.write(before + ",\n  ".join(some))
        before = ",\n  "
    file.write("[]" if before.startswith("[") else "\n ]")


def _image_texts(dataset: Dataset) -> Iterator[str]:
    for image in dataset.images.values():
        further = "" if image.id in dataset.boxes else ',\n   "annotated": false'
        if image.since:
            further += f',\n   "since": {image.since}'
        if image.tile is not None:
            further += ',\n   "tile": [\n    {},\n    {},\n    {}\n   ]'.format(*image.tile)
        yield (
            f'{{\n   "id": {image.id},\n   "file_name": {_text(image.file_name)},\n   "width": {image.width},\n'
            f'   "height": {image.height},\n   "split": "{image.split}"{further}\n  }}'
        )


_text = json.JSONEncoder(ensure_ascii=False).encode


def _annotation_texts(dataset: Dataset) -> Iterator[str]:
    number = 0
    ids = [i for i in sorted(dataset.boxes) if len(dataset.boxes[i])]
    for first in range(0, len(ids), _AT_ONCE):
        chunk = ids[first : first + _AT_ONCE]
        found = [dataset.boxes[i] for i in chunk]
        image_ids = np.repeat(np.array(chunk, np.int64), [len(item) for item in found])
        corners = np.concatenate([item.xyxy for item in found]).astype(np.float64)  # exact: reading gives it back
        finite = np.isfinite(corners).all(axis=1)
        if not finite.all():
            raise ValueError(f"image {image_ids[finite.argmin()]} has a box that is not finite")
        rows = zip(
            image_ids.tolist(),
            boxes.xyxy_to_xywh(corners).tolist(),
            boxes.area(corners).tolist(),
            np.concatenate([item.labels for item in found]).tolist(),
            np.concatenate([item.ignore for item in found]).astype(int).tolist(),
            strict=True,
        )
        for image_id, (x, y, w, h), area, label, ignore in rows:
            number += 1
            yield (
                f'{{\n   "id": {number},\n   "image_id": {image_id},\n   "category_id": {label + 1},\n'
                f'   "bbox": [\n    {x!r},\n    {y!r},\n    {w!r},\n    {h!r}\n   ],\n   "area": {area!r},\n'
                f'   "iscrowd": {ignore},\n   "ignore": {ignore}\n  }}'
            )


def read(path: str | Path, follow: bool = False) -> Dataset:
    """Read a data set in canonical form. Image files are not opened.

    Args:
        path: of the file.
        follow: whether links may lead out of the image root, as where the import had followed them.

    Raises:
        MgralError: not in canonical form, or ids, classes, names or boxes contradict each other; names the place.
    """
    remedy = "run `mgral import` again"
    try:
        with no_collection():
            return _parsed(read_json(path), path, follow)
    except MgralError as error:
        raise MgralError(f"{error}; {remedy}") from None
    except ValueError as error:
        raise MgralError(line(f"{path}: {error}; {remedy}")) from None


def _parsed(content: Any, path: str | Path, follow: bool) -> Dataset:
    """Raises MgralError or ValueError with what is wrong."""
    file = _File.parse(content, f"{path}:")
    columns = _columns(content.get("annotations"))
    if columns is None:  # what is wrong, or only unusual
        checked = _Annotations.parse(content, f"{path}:").annotations
        columns = _columns([item.model_dump() for item in checked])
    if columns is None:
        raise ValueError("annotations: an id or a flag is below 0 or above 2 ** 53")
    return _dataset(file, columns, follow)


def _columns(items: Any) -> _Columns | None:
    """The annotations by their keys; None if there is anything unusual about one of them."""
    if not isinstance(items, list) or not set(map(type, items)) <= {dict}:
        return None
    try:
        *numbers, bboxes = _by_key(items, ("id", "image_id", "category_id", "bbox"))
    except KeyError:
        return None
    try:
        flags = _by_key(items, ("iscrowd", "ignore"))
    except KeyError:  # they may be left out
        flags = [[item.get(key, 0) for item in items] for key in ("iscrowd", "ignore")]
    sides = list(chain.from_iterable(bboxes)) if set(map(type, bboxes)) <= {list, tuple} else [None]
    if not set(map(len, bboxes)) <= {4} or not set(map(type, sides)) <= {float, int}:
        return None
    for column in (*numbers, *flags):
        if not set(map(type, column)) <= {int} or not all(0 <= end <= _LARGEST for end in _ends(column)):
            return None
    if items and min(map(min, numbers)) < 1:
        return None
    ids, image_ids, category_ids = (np.array(column, np.int64) for column in numbers)
    bbox = np.array(sides, np.float64).reshape(-1, 4)
    if not np.isfinite(bbox).all():
        return None
    crowd, ignore = (np.array(column, np.bool_) for column in flags)
    return _Columns(ids, image_ids, category_ids, bbox, crowd | ignore)


def _by_key(items: Sequence[Mapping[str, Any]], keys: tuple[str, ...]) -> list[list[Any]]:
    """One list a key. Raises KeyError if an item lacks one."""
    return [list(map(itemgetter(key), items)) for key in keys]


def _ends(column: list[int]) -> tuple[int, ...]:
    return (min(column), max(column)) if column else ()


def _dataset(content: _File, columns: _Columns, follow: bool) -> Dataset:
    """Raises ValueError with the id and what is wrong with it."""
    root = Path(content.info.image_root)
    images = _images(content, root, follow)
    numbers = [category.id for category in content.categories]
    if numbers != list(range(1, len(numbers) + 1)) or not numbers:
        raise ValueError("categories: ids do not count from 1")
    names = [category.name for category in content.categories]
    for name, times in Counter(names).items():
        if times > 1 or not is_name(name):
            what = "is used twice" if times > 1 else "is no name of one line"
            raise ValueError(f"categories: {name!r} {what}")
    tiling = content.info.tiling
    if tiling is not None and tiling.overlap >= tiling.size:
        raise ValueError(f"info.tiling: overlap {tiling.overlap} is not below size {tiling.size}")
    annotated = np.array(sorted(image.id for image in content.images if image.annotated), np.int64)
    return Dataset(
        classes=tuple(names),
        images=images,
        boxes=_boxes(images, annotated, columns, len(numbers)),
        root=root,
        tiling=None if tiling is None else Tiling(tiling.size, tiling.overlap, tiling.visible),
    )


def _images(content: _File, root: Path, follow: bool) -> dict[int, Image]:
    links = None if follow or content.info.links else Links(root)
    start = content.info.image_root
    images: dict[int, Image] = {}
    for image in sorted(content.images, key=lambda image: image.id):
        if image.id in images:
            raise ValueError(f"image {image.id}: id is used twice")
        try:
            name = plain(image.file_name)
            if links is not None:
                links.resolve(f"{start}/{name}")
        except OutsideError:
            raise ValueError(f"image {image.id}: file name {image.file_name!r} leaves the image root") from None
        sides = image.width, image.height
        images[image.id] = Image(image.id, image.file_name, *sides, image.split, image.since, image.tile)
    return images


def _boxes(images: Mapping[int, Image], annotated: Ints, columns: _Columns, classes: int) -> dict[int, Boxes]:
    """The boxes of each annotated image; those of one image keep their order."""
    count = len(columns.id)
    place = np.searchsorted(annotated, columns.image_id)
    there = np.zeros(count, np.bool_)
    if len(annotated):
        there = annotated[np.minimum(place, len(annotated) - 1)] == columns.image_id
    if not there.all():
        k = int(there.argmin())
        raise ValueError(f"annotation {columns.id[k]}: image {columns.image_id[k]} does not exist or is not annotated")
    if count and columns.category_id.max() > classes:
        k = int((columns.category_id > classes).argmax())
        raise ValueError(f"annotation {columns.id[k]}: category {columns.category_id[k]} does not exist")
    sides = [side for i in annotated.tolist() for side in (images[i].width, images[i].height)]
    sizes = np.tile(np.array(sides, np.float32).reshape(-1, 2), 2)
    xyxy = boxes.xywh_to_xyxy(columns.bbox).astype(np.float32)
    outside = np.any(xyxy != np.clip(xyxy, 0, sizes[place]), axis=1) | (boxes.area(xyxy) <= 0)
    if outside.any():
        k = int(outside.argmax())
        raise ValueError(
            f"annotation {columns.id[k]}: box {columns.bbox[k].tolist()} is not inside image {columns.image_id[k]}"
        )
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(len(annotated) + 1)).tolist()
    xyxy, labels, ignore = xyxy[order], columns.category_id[order] - 1, columns.ignore[order]
    return {
        i: Boxes(xyxy[start:end], labels[start:end], ignore[start:end])
        for i, start, end in zip(annotated.tolist(), ends[:-1], ends[1:], strict=True)
    }
