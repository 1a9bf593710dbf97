"""Label Studio: tasks with predictions out, the JSON export back. Version 1.23 is what this was checked with.

Export as JSON (not JSON-MIN, COCO, YOLO or VOC: these lose states, people, or images labelled twice). Its coordinates
are percent of the image's sides, which give whole pixels back exactly. A skipped task holds the prediction's boxes,
and a task without annotation may hold drafts: neither is a label.

Tasks name their images by URL. ``mgral export`` gives the one of a local storage, which must be a true subfolder of
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT; see docs/annotation.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

from pydantic import Field

from mgral.annotation.exchange import Answer, AnswerBox, Batch, BatchImage, Origin, Returned, Source, State
from mgral.annotation.tools import _label_studio_api, _objects
from mgral.annotation.tools._json import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError, shown
from mgral.core.files import whole, write_json
from mgral.data.raw import flag, own_id

STATES: frozenset[State] = frozenset({"finished", "skipped", "cannot", "draft", "untouched"})
NOTHING, CANNOT = "nothing here", "cannot be labelled"
SLIP = 0.5  # degrees; a smaller rotation is a slip of the hand
_SHAPES = ("rectanglelabels", "polygonlabels", "ellipselabels")
_BARE = ("rectangle", "polygon", "ellipse")


class Options(Settings):
    """How tasks name their images."""

    images: str = Field(
        default="/data/local-files/?d={folder}/{path}",
        description="URL of an image: {path} below the image root, {folder} the name of the image root, both quoted",
    )


def config(batch: Batch) -> str:
    """The labelling configuration of a project: a rectangle for each class, and what boxes cannot say."""
    labels = "".join(f"\n    <Label value={quoteattr(name)}/>" for name in batch.classes)
    choices = "".join(f"\n    <Choice value={quoteattr(value)}/>" for value in (NOTHING, CANNOT))
    return (
        f'<View>\n  <Header value="$title"/>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <RectangleLabels name="label" toName="image">{labels}\n  </RectangleLabels>\n'
        f'  <Choices name="state" toName="image" choice="single" showInLine="true">{choices}\n  </Choices>\n</View>\n'
    )


def tasks(batch: Batch, options: Options) -> list[dict[str, Any]]:
    """The tasks of a batch, most wanted first."""
    return [_task(batch, image, options) for image in batch.images]


def _task(batch: Batch, image: BatchImage, options: Options) -> dict[str, Any]:
    reason = ", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
                       for key, value in image.reason.items())  # fmt: skip
    url = options.images.format(path=quote(image.file_name), folder=quote(batch.root.name))
    mgral = {"id": image.id, "sha256": image.sha256, "batch": batch.id, "experiment": batch.experiment}
    data = {"image": url, "title": f"{image.rank}. {reason}", "file_name": image.file_name, "mgral": mgral}
    task: dict[str, Any] = {"data": data}
    if image.predictions:
        boxes = [_result(f"p{i}", p.label, p.xyxy, image, score=p.score) for i, p in enumerate(image.predictions)]
        mean = sum(p.score for p in image.predictions) / len(image.predictions)
        task["predictions"] = [{"model_version": batch.title, "score": mean, "result": boxes}]
    return task


def _result(id: str, label: str, xyxy: Sequence[float], image: BatchImage, **more: Any) -> dict[str, Any]:
    """One region, in percent."""
    x1, y1, x2, y2 = xyxy
    width, height = image.width, image.height
    return {
        "id": id,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
            "rectanglelabels": [label],
        },
        **more,
    }


def export(batch: Batch, folder: Path, options: Options) -> list[Path]:
    """Write ``tasks.json`` and ``label-config.xml``."""
    write_json(folder / "tasks.json", tasks(batch, options))
    with whole(folder / "label-config.xml") as temporary:
        temporary.write_text(config(batch), encoding="utf-8")
    return [folder / "label-config.xml", folder / "tasks.json"]


def read(sources: Sequence[Source], batch: Batch, options: Options) -> Returned:
    """Read a JSON export: of a project, or a snapshot of it (``/api/projects/{id}/exports``).

    Raises:
        MgralError: not such an export.
    """
    notes: Counter[str] = Counter()
    answers: list[Answer] = []
    found = [source for source in sources if source.is_text(".json")]
    if not found:
        raise MgralError(f"{sources[0].place if sources else 'nothing'}: no JSON file; export the project as JSON")
    for source in found:
        content = parsed(source)
        if not isinstance(content, list) or not all(_is_task(task) for task in content):
            raise MgralError(
                f"{source.place}: no JSON export of Label Studio (a list of tasks with data and annotations); export "
                "the project as JSON, not as JSON-MIN or another format"
            )
        seen: Counter[Any] = Counter()
        for task in content:
            try:
                of_task = _answers(task, batch.classes, notes)
                mgral = task["data"].get("mgral")
                seen[mgral["id"] if isinstance(mgral, dict) and "id" in mgral else task["data"].get("image")] += 1
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
                raise MgralError(
                    f"{source.place}: task {task.get('id', '?')}: cannot be read ({type(error).__name__}: {error}); "
                    "export the project as JSON again"
                ) from None
            answers += of_task
        notes["images in several tasks"] += sum(times > 1 for times in seen.values())
    return Returned(answers, "label_studio", "", notes)


def _is_task(task: Any) -> bool:
    return (
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and isinstance(task.get("annotations"), list)
        and all(isinstance(one, dict) and isinstance(one.get("result"), list) for one in task["annotations"])
    )


def _answers(task: Mapping[str, Any], classes: Sequence[str], notes: Counter[str]) -> list[Answer]:
    data = task["data"]
    mgral = data.get("mgral") if isinstance(data.get("mgral"), dict) else {}
    about: dict[str, Any] = {
        "name": _name(str(data.get("image") or data.get("file_name") or f"task {task.get('id')}")),
        "id": _id(mgral["id"]) if "id" in mgral else None,
        "sha256": _text(mgral, "sha256"),
        "batch": _text(mgral, "batch"),
    }
    shown = {
        str(region.get("id")): region for one in task.get("predictions") or [] if isinstance(one, dict)
        for region in one.get("result") or []
    }  # fmt: skip
    answers = []
    for annotation in task["annotations"]:
        result = annotation["result"]
        choices = [choice for r in result if r.get("type") == "choices" for choice in r["value"]["choices"]]
        boxes = tuple(_box(r, shown) for r in result if r.get("type") in _SHAPES)
        others = Counter(str(r.get("type")) for r in result if r.get("type") not in (*_SHAPES, "choices"))
        for kind, times in others.items():
            notes[f"regions of type {kind}, passed over"] += times
        state: State = "finished"
        if _flag(annotation, "was_cancelled"):
            state = "skipped"
        elif CANNOT in choices:
            state = "cannot"
        elif NOTHING in choices and boxes:
            raise ValueError(f"says '{NOTHING}' and has {len(boxes)} boxes")
        if state == "finished":
            _refuse_unreadable(result, classes)
            _refuse_turned(result)
        sizes = {(int(r["original_width"]), int(r["original_height"])) for r in result if "original_width" in r}
        if len(sizes) > 1:
            raise ValueError(f"its regions are of images of several sizes {sorted(sizes)}")
        answers.append(
            Answer(
                **about,
                state=state,
                boxes=boxes,
                size=sizes.pop() if sizes else None,
                who=_who(annotation.get("completed_by")),
                seconds=_seconds(annotation),
                at=str(annotation.get("updated_at") or ""),
                truth=_flag(annotation, "ground_truth"),
            )
        )
    if not answers:
        begun: State = "draft" if task.get("drafts") else "untouched"
        answers.append(Answer(**about, state=begun, at=str(task.get("updated_at") or "")))
    return answers


def _id(value: Any) -> int:
    """The number of an image. Raises ValueError if it is none."""
    found = own_id(value)
    if type(found) is not int:
        raise ValueError(f"mgral.id {shown(value)} is no number")
    return found


def _flag(group: Mapping[str, Any], key: str) -> bool:
    """What a flag says. Raises ValueError if it says neither yes nor no."""
    said = flag(group.get(key))
    if said is None:
        raise ValueError(f"{key} {shown(group[key])} is neither yes nor no")
    return said


def _refuse_unreadable(result: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Refuse a region that marks an object of the data set and is no box: it would become background.

    Raises:
        ValueError: it has one of the classes in another shape (a brush, key points), or a shape without a class.
    """
    read = {region.get("id") for region in result if region.get("type") in _SHAPES}
    for region in result:
        kind, value = str(region.get("type")), region.get("value")
        if kind in (*_SHAPES, "choices") or not isinstance(value, dict) or region.get("id") in read:
            continue
        said = [name for names in value.values() if isinstance(names, list) for name in names]
        marked = [name for name in said if isinstance(name, str) and name in classes]
        if marked or kind.lower() in _BARE:
            what = f"marks {marked[0]!r} and is no box" if marked else "has no class"
            raise ValueError(f"region {region.get('id')} of type {kind} {what}; correct or remove it")


def _refuse_turned(result: Sequence[Mapping[str, Any]]) -> None:
    """Refuse regions that were drawn while the image was turned in the tool: they are about its sides then.

    Raises:
        ValueError: says by how much.
    """
    for region in result:
        turned = float(region.get("image_rotation") or 0) % 360
        if turned:
            what = f"was drawn on the image turned by {turned:g} degrees"
            raise ValueError(f"region {region.get('id')} {what}; turn it back in the tool")


def _text(group: Mapping[str, Any], key: str) -> str | None:
    value = group.get(key)
    if not isinstance(value, str | None):
        raise ValueError(f"mgral.{key} is no text")
    return value


def _seconds(annotation: Mapping[str, Any]) -> float | None:
    """The time a person took, as far as it is one."""
    seconds = float(annotation["lead_time"]) if annotation.get("lead_time") is not None else None
    return seconds if seconds is not None and 0 <= seconds < math.inf else None


def _name(url: str) -> str:
    """The image's path in a URL, unquoted."""
    return unquote(url.split("?d=", 1)[-1])


def _who(completed_by: Any) -> str:
    """A person: the number of the account, or the address where the export holds whole people."""
    if isinstance(completed_by, dict):
        return str(completed_by.get("id") or completed_by.get("email") or "")
    return "" if completed_by is None else str(completed_by)


def _box(region: Mapping[str, Any], shown: Mapping[str, Any]) -> AnswerBox:
    labels = region["value"].get(region["type"]) or []
    if len(labels) != 1:
        raise ValueError(f"region {region.get('id')} has {len(labels)} labels, not one")
    xyxy, hull = _corners(region["type"], region["value"], region["original_width"], region["original_height"])
    given: Any = region.get("origin")
    origin: Origin = given if given in ("prediction", "prediction-changed", "manual") else "unknown"
    if origin == "unknown" and shown:
        before = shown.get(str(region.get("id")))
        origin = "manual" if before is None else "prediction" if _same(before, region) else "prediction-changed"
    return AnswerBox(str(labels[0]), xyxy, origin, hull)


def _same(before: Mapping[str, Any], region: Mapping[str, Any]) -> bool:
    keys = ("x", "y", "width", "height", "rotation", "rectanglelabels")
    return all(before["value"].get(key) == region["value"].get(key) for key in keys)


def _corners(kind: str, value: Mapping[str, Any], width: int, height: int) -> tuple[Any, bool]:
    """Corners in pixels, and whether they are a hull. A rectangle turns about its top left corner."""
    if kind == "polygonlabels":
        xs = [float(x) * width / 100 for x, _ in value["points"]]
        ys = [float(y) * height / 100 for _, y in value["points"]]
        return _objects.around(xs, ys), True
    turn = float(value.get("rotation") or 0) % 360
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    if kind == "ellipselabels":  # x, y is the centre
        rx, ry = float(value["radiusX"]) * width / 100, float(value["radiusY"]) * height / 100
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        dx, dy = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
        return (x - dx, y - dy, x + dx, y + dy), True
    w, h = float(value["width"]) * width / 100, float(value["height"]) * height / 100
    if min(turn, 360 - turn) < SLIP:
        return (x, y, x + w, y + h), False
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    points = [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in ((0, 0), (w, 0), (w, h), (0, h))]
    xs, ys = [px for px, _ in points], [py for _, py in points]
    return (min(xs), min(ys), max(xs), max(ys)), True


def push(batch: Batch, options: Options, annotators: int) -> str:
    """Make the batch's project on the server, or complete it; the same again does nothing. Returns what was done."""
    server = _label_studio_api.Server()
    project, new = _label_studio_api.push(server, batch, config(batch), tasks(batch, options), annotators)
    return f"{server.url}/projects/{project}: {len(batch.images)} tasks, {new} of them new"


def pull(batch: Batch) -> bytes:
    """The JSON export of the batch's project on the server. Raises MgralError if it has none."""
    return _label_studio_api.pull(_label_studio_api.Server(), batch)


def respond(batch: Batch, answers: Mapping[int, Sequence[Answer]], folder: Path) -> list[Path]:
    """Write the JSON export of a project whose people gave these answers."""
    written = tasks(batch, Options())
    for number, (task, image) in enumerate(zip(written, batch.images, strict=True), start=1):
        given = [answer for answer in answers.get(image.id, []) if answer.state != "untouched"]
        drafts = [answer for answer in given if answer.state == "draft"]
        task |= {"id": number, "updated_at": "2026-01-01T00:00:00Z", "drafts": [_annotation(a, image) for a in drafts]}
        task["annotations"] = [_annotation(answer, image) for answer in given if answer.state != "draft"]
    write_json(folder / "export.json", written)
    return [folder / "export.json"]


def _annotation(answer: Answer, image: BatchImage) -> dict[str, Any]:
    result = [_result(f"r{i}", b.label, b.xyxy, image, origin=b.origin) for i, b in enumerate(answer.boxes)]
    if answer.state == "cannot":
        result.append({"type": "choices", "from_name": "state", "to_name": "image", "value": {"choices": [CANNOT]}})
    return {
        "result": result,
        "was_cancelled": answer.state == "skipped",
        "ground_truth": answer.truth,
        "completed_by": int(answer.who) if answer.who.isdecimal() else {"id": answer.who},
        "lead_time": answer.seconds,
        "updated_at": answer.at,
    }
