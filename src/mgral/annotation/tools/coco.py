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

from mgral.annotation.exchange import Answer, AnswerBox, Batch, Returned, Source
from mgral.annotation.tools import _folders
from mgral.annotation.tools._json import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.files import write_json

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
    found = [source for source in sources if source.content is not None and source.name.endswith(".json")]
    if not found:
        raise MgralError(f"{sources[0].place if sources else 'nothing'}: no JSON file; give a COCO annotation file")
    answers = [answer for source in found for answer in _answers(source)]
    seen = Counter(answer.name for answer in answers)
    twice = [name for name, times in seen.items() if times > 1]
    if twice:
        raise MgralError(
            f"{found[0].place}: image {twice[0]!r} is in it {seen[twice[0]]} times; give each image once, or export "
            "what several people labelled as JSON of Label Studio"
        )
    return Returned(_folders.judged(answers, _folders.read_table(sources), batch), "coco")


def _answers(source: Source) -> list[Answer]:
    content = parsed(source)
    try:
        classes = {category["id"]: str(category["name"]) for category in content["categories"]}
        boxes: dict[Any, list[AnswerBox]] = {image["id"]: [] for image in content["images"]}
        if len(boxes) != len(content["images"]):
            raise ValueError("two images have one id")
        for item in content["annotations"]:
            x, y, w, h = map(float, item["bbox"])
            ignore = any(item.get(flag) for flag in ("iscrowd", "ignore", "difficult"))
            boxes[item["image_id"]].append(AnswerBox(classes[item["category_id"]], (x, y, x + w, y + h), ignore=ignore))
        return [
            Answer(str(image["file_name"]), "finished", tuple(boxes[image["id"]]), size=_size(image))
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise MgralError(f"{source.place}: not COCO annotations ({what}); export as COCO again") from None


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    return (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None


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
