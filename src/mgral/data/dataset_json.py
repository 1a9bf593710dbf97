"""The canonical form on disk: COCO JSON, readable by pycocotools, plus a split per image.

``info``       where the data set comes from: format, image_root (as given, so a relative one starts at the
               working folder), ids, splits_drawn, dropped, clipped, unlisted
``images``     COCO's keys, and split; ``annotated: false`` marks an image that nobody has annotated
``annotations`` COCO's keys, numbered from 1 in order of image id; iscrowd and ignore are 1 for ignored objects
``categories`` numbered from 1 in order of class index
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
from pydantic import ConfigDict, Field

from mgral.config.base import Settings
from mgral.core import boxes
from mgral.core.errors import MgralError
from mgral.core.files import read_json, whole
from mgral.core.types import Boxes, Dataset, Image, Split
from mgral.data.faults import line
from mgral.data.image_files import OutsideError, plain
from mgral.data.locating import Links

Number = Annotated[float, Field(strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]


class _Group(Settings):
    model_config = ConfigDict(extra="ignore")  # other programs may have added keys of their own


class _Info(_Group):
    image_root: str
    links: int = 0  # symbolic links that the import followed, and checked by its own rule


class _Image(_Group):
    id: Positive
    file_name: str
    width: Positive
    height: Positive
    split: Split
    annotated: bool = True


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
    info: _Info
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


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
    """Write one text after the other: a data set may hold a million, and is never one text in memory."""
    first = next(texts, None)
    if first is None:
        file.write("[]")
        return
    file.write(f"[\n  {first}")
    for text in texts:
        file.write(f",\n  {text}")
    file.write("\n ]")


def _image_texts(dataset: Dataset) -> Iterator[str]:
    for image in dataset.images.values():
        entry = {
            "id": image.id,
            "file_name": image.file_name,
            "width": image.width,
            "height": image.height,
            "split": image.split,
            **({} if image.id in dataset.boxes else {"annotated": False}),
        }
        yield _indented(entry, 2)


def _annotation_texts(dataset: Dataset) -> Iterator[str]:
    number = 0
    for image_id in sorted(dataset.boxes):
        found = dataset.boxes[image_id]
        if not np.isfinite(found.xyxy).all():
            raise ValueError(f"image {image_id} has a box that is not finite")
        corners = found.xyxy.astype(np.float64)  # exact, so that reading gives the same float32
        bboxes, areas = boxes.xyxy_to_xywh(corners).tolist(), boxes.area(corners).tolist()
        rows = zip(bboxes, areas, found.labels.tolist(), found.ignore.tolist(), strict=True)
        for bbox, area, label, ignore in rows:
            number += 1
            sides = ",\n    ".join(map(repr, bbox))
            yield (
                f'{{\n   "id": {number},\n   "image_id": {image_id},\n   "category_id": {label + 1},\n'
                f'   "bbox": [\n    {sides}\n   ],\n   "area": {area!r},\n'
                f'   "iscrowd": {int(ignore)},\n   "ignore": {int(ignore)}\n  }}'
            )


def read(path: str | Path) -> Dataset:
    """Read a data set in canonical form. Image files are not opened.

    Raises:
        MgralError: not in canonical form, or ids, classes, names or boxes contradict each other; names the place.
    """
    remedy = "make it anew with `mgral import`"
    try:
        content = _File.parse(read_json(path), f"{path}:")
        return _dataset(content)
    except MgralError as error:
        raise MgralError(f"{error}; {remedy}") from None
    except ValueError as error:
        raise MgralError(line(f"{path}: {error}; {remedy}")) from None


def _dataset(content: _File) -> Dataset:
    """Raises ValueError with the id and what is wrong with it."""
    root = Path(content.info.image_root)
    links = None if content.info.links else Links(root)
    images: dict[int, Image] = {}
    for image in sorted(content.images, key=lambda image: image.id):
        if image.id in images:
            raise ValueError(f"image {image.id}: id stands twice")
        try:
            name = plain(image.file_name)
            if links is not None:
                links.resolve(root / name)
        except OutsideError:
            raise ValueError(f"image {image.id}: file name {image.file_name!r} leaves the image root") from None
        images[image.id] = Image(image.id, image.file_name, image.width, image.height, image.split)
    numbers = [category.id for category in content.categories]
    if numbers != list(range(1, len(numbers) + 1)) or not numbers:
        raise ValueError("categories: ids do not count from 1")

    objects: dict[int, list[_Annotation]] = {image.id: [] for image in content.images if image.annotated}
    for item in content.annotations:
        if item.image_id not in objects:
            raise ValueError(f"annotation {item.id}: image {item.image_id} does not exist or is not annotated")
        if item.category_id > len(numbers):
            raise ValueError(f"annotation {item.id}: category {item.category_id} does not exist")
        objects[item.image_id].append(item)
    return Dataset(
        classes=tuple(category.name for category in content.categories),
        images=images,
        boxes={i: _boxes(images[i], objects[i]) for i in sorted(objects)},
        root=root,
    )


def _boxes(image: Image, items: list[_Annotation]) -> Boxes:
    if not items:
        return Boxes.empty()
    xyxy = boxes.xywh_to_xyxy([item.bbox for item in items]).astype(np.float32)
    outside = np.any(xyxy != boxes.clip(xyxy, image.width, image.height), axis=1) | (boxes.area(xyxy) <= 0)
    if outside.any():
        item = items[int(outside.argmax())]
        raise ValueError(f"annotation {item.id}: box {list(item.bbox)} is not inside image {image.id}")
    return Boxes(
        xyxy,
        np.array([item.category_id - 1 for item in items], np.int64),
        np.array([bool(item.iscrowd or item.ignore) for item in items], np.bool_),
    )
