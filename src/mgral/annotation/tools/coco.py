"""COCO: one JSON file with images, annotations and categories; boxes are left, top, width, height in pixels.

For any tool that reads and writes COCO. The images are copied under names that carry their id, so that no tool can mix
up two files of one name. COCO has no word for an image that was opened and shows nothing: ``states.csv`` may say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from mgral.annotation.exchange import Answer, Batch, Returned, Source
from mgral.annotation.tools import _folders, _objects
from mgral.annotation.tools._json import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError, shown
from mgral.core.files import write_json
from mgral.data import coco_objects
from mgral.data.faults import Findings
from mgral.data.image_files import is_name
from mgral.data.image_validation import plain_id
from mgral.data.raw import Sheet, Unfit, flag, own_id
from mgral.data.raw import Source as Annotations

STATES = _folders.STATES


class Options(Settings):
    """What is written."""

    images: bool = Field(default=True, description="copy the images beside the annotations")
    predictions: bool = Field(
        default=False, description="write predicted boxes as annotations; ones that come back unchanged are unsaid"
    )


def export(batch: Batch, folder: Path, options: Options) -> list[Path]:
    """Write ``annotations.json``, ``states.csv`` and the images."""
    shown = _folders.of_predictions(batch) if options.predictions else {}
    files = _written(batch, shown, folder / "annotations.json", all_images=True)
    files.append(_folders.write_table(batch.images, {}, folder / _folders.TABLE))
    return files + (_folders.copy_images(batch, folder / "images") if options.images else [])


def read(sources: Sequence[Source], batch: Batch, options: Options) -> Returned:
    """Read COCO files. An image that is listed without boxes is unsaid, one that is not listed is untouched.

    Raises:
        MgralError: not COCO, or an image is in it twice, as Label Studio writes one that two people labelled.
    """
    found = [source for source in sources if source.is_text(".json")]
    if not found:
        raise MgralError(f"{sources[0].place if sources else 'nothing'}: no JSON file; give a COCO annotation file")
    report = _objects.findings()
    answers = [answer for source in found for answer in _answers(source, report)]
    seen = Counter(answer.name for answer in answers)
    twice = [name for name, times in seen.items() if times > 1]
    if twice:
        raise MgralError(
            f"{found[0].place}: image {twice[0]!r} is in it {seen[twice[0]]} times; give each image once, or export "
            "what several people labelled as JSON of Label Studio"
        )
    notes = Counter(report.counts())
    return Returned(_folders.judged(answers, _folders.read_table(sources), batch), "coco", notes=notes)


def _answers(source: Source, report: Findings) -> list[Answer]:
    """The images of a file with their objects; one that the file calls not annotated is untouched."""
    content = coco_objects.lists(parsed(source), source.place, report)
    names = coco_objects.categories(source.place, content["categories"], report)
    found = Annotations(Path(), [], {}, "xywh", None)
    images: dict[Any, dict[str, Any]] = {}
    for image in content["images"]:
        key = (source.place, own_id(image.get("id")))
        what = "has no id" if isinstance(key[1], Unfit) else "id is duplicated" if key in images else ""
        if not what and not is_name(image.get("file_name")):
            what = f"unfit file name {shown(image.get('file_name'))}"
        if what:
            raise MgralError(f"{source.place}: image {key[1]}: {what}; export as COCO again")
        coco_objects.refuse_within(image, f"image {key[1]}", source.place, report)
        images[key] = image
        found.sheets[key] = Sheet(source.place, [])
    coco_objects.add(found, source.place, names, content["annotations"], report)
    for other in [other for other in found.sheets if other not in images]:
        which = f"{found.sheets[other].objects[0].name}: of image {plain_id(other)}"
        raise MgralError(f"{source.place}: {which}, which is not in 'images'; export as COCO again")
    answers = []
    for key, image in images.items():
        boxes = tuple(_objects.box(item, "xywh", source.place) for item in found.sheets[key].objects)
        annotated = flag(image.get("annotated", True))
        if annotated is None or (boxes and not annotated):
            what = f"annotated is {shown(image['annotated'])}, and it has {len(boxes)} annotations"
            raise MgralError(f"{source.place}: image {key[1]}: {what}; correct one of them")
        if annotated:
            answers.append(Answer(image["file_name"], "finished", boxes, size=_size(image, source.place)))
    return answers


def _size(image: Mapping[str, Any], place: str) -> tuple[int, int] | None:
    try:
        return (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
    except (TypeError, ValueError, OverflowError):
        what = f"size {shown(image['width'])} x {shown(image['height'])} is not of numbers"
        raise MgralError(f"{place}: image {shown(image['file_name'])}: {what}; correct it") from None


def respond(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path) -> list[Path]:
    """Write what a tool returns whose people gave these answers."""
    table = _folders.write_table(batch.images, answers, folder / _folders.TABLE)
    return [*_written(batch, answers, folder / "annotations.json", all_images=False), table]


def _written(batch: Batch, answers: Mapping[int, Sequence[Answer]], path: Path, all_images: bool) -> list[Path]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in batch.images:
        answer = _folders.one(answers.get(image.id, []), image)
        if answer is None and not all_images:
            continue
        size = {"width": image.width, "height": image.height}
        images.append({"id": image.id, "file_name": image.export_name, **size})
        for box in answer.boxes if answer else ():
            x1, y1, x2, y2 = box.xyxy
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.id,
                    "category_id": batch.classes.index(box.label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(box.ignore),
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(batch.classes, start=1)]
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})
    return [path]
