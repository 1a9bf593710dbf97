"""PASCAL VOC: one XML file an image. Corners are continuous, as LabelImg, Label Studio and CVAT write them.

The VOC data set itself counts pixels from 1 and includes the last one; tools that write its format do not (checked
with LabelImg 1.8.6, Label Studio 1.23 and datumaro 1.13): ``one_based: true`` reads files that do. A file without
objects is unsaid, an image without file untouched; ``states.csv`` may say more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pydantic import Field

from mgral.annotation.exchange import Answer, Batch, BatchImage, Returned, Source
from mgral.annotation.tools import _folders, _objects
from mgral.annotation.tools._xml import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.files import whole
from mgral.data import voc_objects
from mgral.data.raw import Layout, RawObject

STATES = _folders.STATES


class Options(Settings):
    """What is written, and how corners are meant."""

    images: bool = Field(default=True, description="copy the images beside the annotations")
    predictions: bool = Field(
        default=False, description="write predicted boxes as objects; ones that come back unchanged are unsaid"
    )
    one_based: bool = Field(
        default=False, description="corners count pixels from 1, the last included; false: continuous, from 0"
    )


def export(batch: Batch, folder: Path, options: Options) -> list[Path]:
    """Write ``classes.txt``, ``states.csv``, the images, and XML files of predictions if asked for."""
    with whole(folder / "classes.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in batch.classes), encoding="utf-8")
    files = [folder / "classes.txt"]
    if options.predictions:
        files += _written(batch, _folders.of_predictions(batch), folder, options.one_based)
    files.append(_folders.write_table(batch.images, {}, folder / _folders.TABLE))
    return files + (_folders.copy_images(batch, folder / "JPEGImages") if options.images else [])


def read(sources: Sequence[Source], batch: Batch, options: Options) -> Returned:
    """Read XML files; each belongs to the image of the same stem. Raises MgralError for one that is damaged."""
    found = [source for source in sources if source.is_text(".xml")]
    if not found:
        place = sources[0].place if sources else "nothing"
        raise MgralError(f"{place}: no XML file; give the folder that holds one for each image")
    answers = [_answer(source, options.one_based) for source in found]
    return Returned(_folders.judged(answers, _folders.read_table(sources), batch), "voc")


def _answer(source: Source, one_based: bool) -> Answer:
    top = parsed(source)
    voc_objects.plain(top)
    if what := voc_objects.fault(top):
        raise MgralError(f"{source.place}: {what}; correct it, or export as VOC again")
    layout: Layout = "inclusive" if one_based else "xyxy"
    boxes = tuple(_objects.box(item, layout, source.place, _turned(item)) for item in voc_objects.objects(top))
    sides = [top.findtext(f"size/{side}") for side in ("width", "height")]
    try:
        size = None if None in sides else (int(float(sides[0] or 0)), int(float(sides[1] or 0)))
    except (ValueError, OverflowError):
        raise MgralError(f"{source.place}: the size is not of numbers; export as VOC again") from None
    return Answer(source.name, "finished", boxes, size=size if size and all(size) else None)


def _turned(item: RawObject) -> bool:
    return any(isinstance(value, float) for value in item.numbers)


def respond(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path) -> list[Path]:
    """Write what a tool returns whose people gave these answers."""
    table = _folders.write_table(batch.images, answers, folder / _folders.TABLE)
    return [*_written(batch, answers, folder, one_based=False), table]


def _written(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path, one_based: bool) -> list[Path]:
    files = []
    for image in batch.images:
        answer = _folders.one(answers.get(image.id, []), image)
        if answer is not None:
            path = folder / "Annotations" / f"{_folders.stem(image.export_name)}.xml"
            with whole(path) as temporary:
                temporary.write_bytes(_document(image, answer, one_based))
            files.append(path)
    lists = {"ImageSets/Main/default.txt": [path.stem for path in files]}  # CVAT and datumaro ask for both lists
    lists["labelmap.txt"] = [f"{name}:::" for name in batch.classes]
    for name, lines in lists.items():
        with whole(folder / name) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [*files, *(folder / name for name in lists)]


def _document(image: BatchImage, answer: Answer, one_based: bool) -> bytes:
    top = Element("annotation")
    SubElement(top, "filename").text = image.export_name
    size = SubElement(top, "size")
    for side, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        SubElement(size, side).text = str(value)
    for box in answer.boxes:
        element = SubElement(top, "object")
        SubElement(element, "name").text = box.label
        SubElement(element, "difficult").text = str(int(box.ignore))
        corners = SubElement(element, "bndbox")
        x1, y1, x2, y2 = box.xyxy
        for edge, number in {"xmin": x1 + one_based, "ymin": y1 + one_based, "xmax": x2, "ymax": y2}.items():
            SubElement(corners, edge).text = repr(float(number))
    indent(top)
    document: bytes = tostring(top, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
