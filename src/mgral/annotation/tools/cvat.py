"""CVAT: annotations in "CVAT for images 1.1" (XML), to and from a task of images.

``mgral export`` writes the images, ``labels.json``, ``annotations.xml`` with the predictions and ``commands.txt`` with
the lines for ``cvat-cli`` that make the task. Uploading annotations to a task replaces all it has, so push once.

CVAT lists every image, opened or not, and its file does not hold the state of a job. An image without boxes, or with
exactly the predicted ones, is therefore unsaid, unless it has one of three tags: ``checked`` (its boxes are all there
are, maybe none), ``cannot be labelled``, ``skip``. Corners have two decimals.
"""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pydantic import Field

from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage, Returned, Source, State
from mgral.annotation.tools import _folders, _objects
from mgral.annotation.tools._xml import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError, shown
from mgral.core.files import whole
from mgral.data.box_validation import number

STATES: frozenset[State] = frozenset({"finished", "skipped", "cannot", "untouched", "unsaid"})
TAGS: dict[str, State] = {"checked": "finished", "cannot be labelled": "cannot", "skip": "skipped"}
COMMANDS = "commands.txt"
LONGEST = 64  # characters of a label's name
_SHAPES = frozenset({"box", "ellipse", "polygon", "mask"})
SLIP = 0.5  # degrees; a smaller rotation is a slip of the hand


class Options(Settings):
    """What is written."""

    images: bool = Field(default=True, description="copy the images beside the annotations")
    quality: int = Field(default=95, ge=1, le=100, description="JPEG quality of the pictures that CVAT shows, percent")


def export(batch: Batch, folder: Path, options: Options) -> list[Path]:
    """Write ``labels.json``, ``annotations.xml``, ``commands.txt`` and the images.

    Raises:
        MgralError: a class whose name CVAT does not take, or an image that is missing.
    """
    for name in batch.classes:
        if name in TAGS or len(name) > LONGEST:
            why = "is a tag here" if name in TAGS else f"has {len(name)} characters, and CVAT takes {LONGEST}"
            raise MgralError(f"class {name!r}: {why}; rename it in the data set, or set another annotation.tool")
    labels: list[dict[str, Any]] = [{"name": name, "type": "rectangle", "attributes": []} for name in batch.classes]
    labels += [{"name": name, "type": "tag", "attributes": []} for name in TAGS]
    with whole(folder / "labels.json") as temporary:
        temporary.write_text(json.dumps(labels, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    files = [folder / "labels.json", _write(batch, _folders.of_predictions(batch), folder / "annotations.xml")]
    with whole(folder / COMMANDS) as temporary:
        temporary.write_text(commands(batch, options), encoding="utf-8")
    files.append(folder / COMMANDS)
    return files + (_folders.copy_images(batch, folder / "images") if options.images else [])


def commands(batch: Batch, options: Options) -> str:
    """The lines for ``cvat-cli`` 2.80 that make the task and fetch it again, to be run in the exported folder."""
    title = shlex.quote(batch.title)
    absent = (
        "# The images are not here (annotation.options.images: false). Put them into images/ first, each by the name\n"
        "# that annotations.xml has for it: answers are matched by these names.\n"
    )
    return ("" if options.images else absent) + (
        "# Run these here, with your token in CVAT_ACCESS_TOKEN and your server in place of https://app.cvat.ai\n"
        f"cvat-cli --server-host https://app.cvat.ai task create {title} local images/* --labels labels.json"
        f" --image_quality {options.quality} --annotation_path annotations.xml --annotation_format 'CVAT 1.1'\n"
        "# TASK is the number that the command above prints.\n"
        "cvat-cli --server-host https://app.cvat.ai task export-dataset TASK returned.zip"
        " --format 'CVAT for images 1.1'\n"
        "# It replaces no file: fetched again, give it another name.\n"
    )


def read(sources: Sequence[Source], batch: Batch, options: Options) -> Returned:
    """Read ``annotations.xml``, alone or in the archive that CVAT exports.

    Raises:
        MgralError: no such file, damaged, of a video, or of the task of another batch.
    """
    found = [source for source in sources if source.is_text(".xml")]
    if not found:
        place = sources[0].place if sources else "nothing"
        raise MgralError(f"{place}: no XML file; export the task as 'CVAT for images 1.1'")
    notes: Counter[str] = Counter()
    answers: list[Answer] = []
    known = {image.export_name: image for image in batch.images}
    for source in found:
        top = parsed(source)
        if top.tag != "annotations" or top.find("track") is not None:
            raise MgralError(f"{source.place}: not 'CVAT for images 1.1'; export the task in this format")
        name = top.findtext("meta/task/name") or top.findtext("meta/job/name") or ""
        words = name.split()
        named = words[3] if len(words) == 4 and words[0] == "mgral" else None
        answers += [_answer(source, element, named, known, batch.classes, notes) for element in top.iter("image")]
    return Returned(answers, "cvat", (found[0].content and parsed(found[0]).findtext("version")) or "", notes)


def _answer(
    source: Source,
    element: Element,
    batch: str | None,
    known: Mapping[str, BatchImage],
    classes: Sequence[str],
    notes: Counter[str],
) -> Answer:
    name = element.get("name", "")
    try:
        size = (int(element.get("width", "")), int(element.get("height", "")))
        boxes = tuple(box for child in element if (box := _box(child, classes, notes)) is not None)
    except ValueError as error:
        raise MgralError(f"{source.place}: image {name!r}: cannot be read ({error}); correct it") from None
    tags = [child.get("label", "") for child in element if child.tag == "tag"]
    said = sorted({TAGS[tag] for tag in tags if tag in TAGS})
    if len(said) > 1:
        raise MgralError(f"{source.place}: image {name!r} has tags that contradict each other ({', '.join(tags)})")
    for tag in tags:
        notes[f"tags {tag!r}, passed over"] += tag not in TAGS
    answer = Answer(name, "finished", boxes, batch=batch, size=size)
    state: State = "finished"
    if said:
        state = said[0]
    elif not boxes or _folders.unchanged(answer, known.get(name.rsplit("/", 1)[-1])):
        state = "unsaid"
    return Answer(name, state, boxes, batch=batch, size=size)


def _number(text: str | None) -> float:
    """A number. Raises ValueError for any other text."""
    value = number(text)
    if value is None:
        raise ValueError(f"{shown(text)} is no number")
    return value


def _box(element: Element, classes: Sequence[str], notes: Counter[str]) -> AnswerBox | None:
    """A shape as a box; None of what marks no object. Raises ValueError."""
    label, turn = element.get("label", ""), _number(element.get("rotation") or "0") % 360
    if element.tag == "box":
        x1, y1, x2, y2 = (_number(element.get(edge)) for edge in ("xtl", "ytl", "xbr", "ybr"))
    elif element.tag == "ellipse":
        cx, cy, rx, ry = (_number(element.get(key)) for key in ("cx", "cy", "rx", "ry"))
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        dx, dy = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
        return AnswerBox(label, (cx - dx, cy - dy, cx + dx, cy + dy), hull=True)
    elif element.tag == "polygon":
        points = [point.split(",") for point in element.get("points", "").split(";")]
        if any(len(point) != 2 for point in points):
            raise ValueError("a point of a polygon is not x,y")
        xs, ys = [_number(point[0]) for point in points], [_number(point[1]) for point in points]
        return AnswerBox(label, _objects.around(xs, ys), hull=True)
    elif element.tag == "mask":
        left, top, width, height = (_number(element.get(key)) for key in ("left", "top", "width", "height"))
        return AnswerBox(label, (left, top, left + width, top + height), hull=True)
    else:
        what = repr(label) if label in classes and element.tag != "tag" else ""
        if what or any(child.tag in _SHAPES for child in element.iter()):
            raise ValueError(f"<{element.tag}> marks {what or 'objects'} and is no box: draw one, or remove it")
        notes[f"elements <{element.tag}>, passed over"] += element.tag != "tag"
        return None
    if min(turn, 360 - turn) < SLIP:
        return AnswerBox(label, (x1, y1, x2, y2))
    cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1  # CVAT turns a box about its centre
    cos, sin = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    dx, dy = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
    return AnswerBox(label, (cx - dx, cy - dy, cx + dx, cy + dy), hull=True)


def respond(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path) -> list[Path]:
    """Write the export of a task whose people gave these answers."""
    return [_write(batch, answers, folder / "annotations.xml", finished=True)]


def _write(batch: Batch, answers: Mapping[int, Sequence[Answer]], path: Path, finished: bool = False) -> Path:
    top = Element("annotations")
    SubElement(top, "version").text = "1.1"
    task = SubElement(SubElement(top, "meta"), "task")
    SubElement(task, "name").text = batch.title
    SubElement(task, "size").text = str(len(batch.images))
    labels = SubElement(task, "labels")
    for name in (*batch.classes, *TAGS):
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        SubElement(label, "type").text = "tag" if name in TAGS else "rectangle"
    tags = {state: tag for tag, state in TAGS.items()}
    for place, image in enumerate(batch.images):
        sides = {"width": str(image.width), "height": str(image.height)}
        element = SubElement(top, "image", {"id": str(place), "name": image.export_name, **sides})
        answer = _folders.one(answers.get(image.id, []), image)
        for box in answer.boxes if answer else ():
            corners = zip(("xtl", "ytl", "xbr", "ybr"), (f"{value:.2f}" for value in box.xyxy), strict=True)
            more = {"occluded": "0", "source": "manual", "z_order": "0"}
            SubElement(element, "box", {"label": box.label, **dict(corners), **more})
        if finished and answer is not None and answer.state in tags:
            SubElement(element, "tag", {"label": tags[answer.state], "source": "manual"})
    indent(top)
    with whole(path) as temporary:
        temporary.write_bytes(tostring(top, encoding="utf-8", xml_declaration=True) + b"\n")
    return path
