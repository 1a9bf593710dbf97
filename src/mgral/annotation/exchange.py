"""The contract with annotation tools: the batch that goes out, and the answers that come back.

A tool is a module of :mod:`mgral.annotation.tools` with

``Options``                            its settings, each with a description and a default
``STATES``                             the states that its files can express
``export(batch, folder, options)``     writes the batch for the tool; returns the files
``read(sources, batch, options)``      reads what the tool returned: :class:`Returned`
``respond(batch, answers, folder)``    plays the tool: writes answers as the tool would; for simulated people and tests

and, where it has a server, ``push`` and ``pull``; or ``COMMANDS``, the name of an exported file with the commands that
bring the batch to the tool and its answers back. A tool only translates. Which image an answer is about, whether a box
is fit and what several people say together is decided here for all tools alike.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mgral.core.errors import MgralError, shown
from mgral.core.files import read_json, require_regular, write_json

State = Literal["finished", "skipped", "cannot", "draft", "untouched", "unsaid"]
"""What a person said of an image.

``finished``: its boxes are all there are, maybe none. ``skipped``: not now, ask again. ``cannot``: it cannot be
labelled, leave it out. ``draft``: begun and not submitted. ``untouched``: nobody opened it. ``unsaid``: the tool cannot
tell ``finished`` from ``untouched``: no boxes, or exactly the predicted ones.
"""
Origin = Literal["prediction", "prediction-changed", "manual", "unknown"]
TEXTS = frozenset({".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".names", ".data"})
_PACKED = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
LARGEST = 512 * 2**20  # bytes of text in one returned file or folder; a batch has some kilobytes an image


@dataclass(frozen=True)
class Prediction:
    """A box that the cycle's detector proposes.

    Attributes:
        label: name of the class.
        xyxy: corners in pixels, inside the image.
        score: 0..1.
    """

    label: str
    xyxy: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class BatchImage:
    """One image that people are asked about.

    Attributes:
        id, file_name, width, height: as in the data set.
        sha256: of the file, in hexadecimal digits.
        rank: 1 for the image wanted most.
        score: of the strategy; the larger, the earlier it was wanted.
        reason: the terms that made the score.
        predictions: best first; empty where none are shown.
        shown: whether predictions are shown; a share of the images goes without, to measure what people overlook.
    """

    id: int
    file_name: str
    width: int
    height: int
    sha256: str
    rank: int
    score: float = 0.0
    reason: Mapping[str, float | int | str] = field(default_factory=dict)
    predictions: tuple[Prediction, ...] = ()
    shown: bool = True

    @property
    def export_name(self) -> str:
        """A name that is unique in the batch and any tool takes: ``000123_1a2b3c4d.jpg``."""
        return f"{self.id:06d}_{self.sha256[:8]}{PurePosixPath(self.file_name).suffix.lower()}"


@dataclass(frozen=True)
class Plan:
    """What a batch is expected to cost, in boxes or minutes.

    Attributes:
        unit: ``boxes`` or ``minutes``.
        amount: of a cycle, as the parameters say.
        carried: that the cycles before left over; negative where they overdrew.
        expected: of this batch, with ``low`` and ``high``, a 90 % interval.
        detections: predicted boxes in each image of the batch, shown or not.
    """

    unit: str
    amount: float
    carried: float
    expected: float
    low: float
    high: float
    detections: tuple[int, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """All but the detections."""
        return {key: value for key, value in vars(self).items() if key != "detections"}


@dataclass(frozen=True)
class Batch:
    """What people are asked in one cycle (``batch/manifest.json``).

    Attributes:
        experiment, cycle: whose batch it is.
        classes: names; a class's index is its position.
        root: the image root.
        images: in order of rank.
        plan: what they are expected to cost; None where the budget counts images.
    """

    experiment: str
    cycle: int
    classes: tuple[str, ...]
    root: Path
    images: tuple[BatchImage, ...]
    plan: Plan | None = None

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, of what is asked: not of the place it lies in, nor of the predictions shown."""
        asked = [f"{image.id}:{image.sha256}" for image in self.images]
        return hashlib.sha256("\n".join([self.experiment, str(self.cycle), *asked]).encode()).hexdigest()[:8]

    @property
    def title(self) -> str:
        """What the project or task is called in a tool, and found by again."""
        return f"mgral {self.experiment} cycle-{self.cycle} {self.id}"


@dataclass(frozen=True)
class AnswerBox:
    """A box as a tool returned it, not yet judged.

    Attributes:
        label: name of the class, as the tool has it.
        xyxy: corners in pixels of the image that the tool showed; they may lie outside.
        origin: where the box came from, as far as the tool says.
        hull: whether it is the hull of a rotated box, a polygon or an ellipse.
        ignore: whether the tool marks it as difficult or as a crowd.
    """

    label: str
    xyxy: tuple[float, float, float, float]
    origin: Origin = "unknown"
    hull: bool = False
    ignore: bool = False


@dataclass(frozen=True)
class Answer:
    """What one person said of one image.

    Attributes:
        name: path or URL of the image in the tool; what else it is found by: ``id`` and ``sha256``, as the batch
            gave them, where the tool kept them.
        batch: id of the batch in the tool's own data; None where the tool kept none.
        state: see :data:`State`.
        boxes: in the order of the tool. Those of a skipped image or a draft are no labels.
        size: width and height of the image that the tool showed; None where it does not say.
        who: the person's name in the tool; empty where it does not say.
        seconds: that the person took; None where the tool does not say.
        at: time of the last change, ISO 8601; empty where the tool does not say.
        truth: whether the tool marks the answer as ground truth.
    """

    name: str
    state: State
    boxes: tuple[AnswerBox, ...] = ()
    id: int | None = None
    sha256: str | None = None
    batch: str | None = None
    size: tuple[int, int] | None = None
    who: str = ""
    seconds: float | None = None
    at: str = ""
    truth: bool = False


@dataclass(frozen=True)
class Returned:
    """All answers of one returned file.

    Attributes:
        answers: in the order of the file.
        tool: that wrote it.
        version: of the tool; empty where the file does not say.
        notes: counts of what the reader passed over, by what it is.
        corrects: whether the answers are corrections of an earlier batch, so that none need be of the one asked now.
    """

    answers: Sequence[Answer]
    tool: str
    version: str = ""
    notes: Mapping[str, int] = field(default_factory=Counter)
    corrects: bool = False


@dataclass(frozen=True)
class Source:
    """One returned file, read into memory.

    Attributes:
        place: file, or archive and member, for messages.
        name: path below what was given, with forward slashes.
        content: bytes of a text file; None of an image, which is hashed instead.
        sha256: of an image.
    """

    place: str
    name: str
    content: bytes | None
    sha256: str | None = None

    def is_text(self, suffix: str) -> bool:
        """Whether it is a text file with this suffix, in any case."""
        return self.content is not None and self.name.lower().endswith(suffix)


def sources(path: str | Path) -> list[Source]:
    """The text files and images of a returned file, folder or zip archive, in order of name.

    Raises:
        MgralError: missing, unreadable, without such files, a damaged archive, or far too large for annotations.
    """
    path = Path(path)
    if not path.exists():
        raise MgralError(f"{path}: no such file or folder; give what the annotation tool exported")
    try:
        found = _found(path)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError) as error:
        raise MgralError(f"{path}: damaged archive ({error}); export it again") from None
    except OSError as error:
        raise MgralError(f"{path}: cannot be read ({error.strerror or error}); make it readable") from None
    if not found:
        raise MgralError(f"{path}: holds no annotations; give what the annotation tool exported")
    return found


def _found(path: Path) -> list[Source]:
    if path.is_dir():
        files = [(p.relative_to(path).as_posix(), p) for p in sorted(path.rglob("*")) if p.is_file()]
        _refuse_packed(path, [name for name, _ in files])
        return _bounded(path, [_source(str(p), name, p.read_bytes()) for name, p in files if _wanted(name)])
    require_regular(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist() if _wanted(member.filename)) > LARGEST:
                raise MgralError(f"{path}: holds more than {LARGEST >> 20} MiB; give the annotations alone")
            _refuse_packed(path, archive.namelist())
            members = sorted(name for name in archive.namelist() if _wanted(name))
            return [_source(f"{path}/{name}", name, archive.read(name)) for name in members]
    return _bounded(path, [Source(str(path), path.name, path.read_bytes())])


def _refuse_packed(path: Path, names: Iterable[str]) -> None:
    """Refuse an archive within a folder or archive: what it holds would be passed over."""
    for name in names:
        hidden = any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
        if not hidden and PurePosixPath(name).suffix.lower() in _PACKED:
            raise MgralError(f"{path}/{name}: an archive within what is returned; unpack it, or return it alone")


def _wanted(name: str) -> bool:
    from mgral.data.image_files import suffixes

    parts = PurePosixPath(name).parts
    return PurePosixPath(name).suffix.lower() in TEXTS | suffixes() and not any(part.startswith(".") for part in parts)


def _source(place: str, name: str, content: bytes) -> Source:
    if PurePosixPath(name).suffix.lower() in TEXTS:
        return Source(place, name, content)
    return Source(place, name, None, hashlib.sha256(content).hexdigest())


def _bounded(path: Path, found: list[Source]) -> list[Source]:
    if sum(len(source.content or b"") for source in found) > LARGEST:
        raise MgralError(f"{path}: holds more than {LARGEST >> 20} MiB of text; give the annotations alone")
    return found


def pack(found: Iterable[Source]) -> bytes:
    """A zip archive of the text files, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in found:
            if source.content is not None:
                archive.writestr(zipfile.ZipInfo(source.name), source.content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def write_batch(batch: Batch, path: str | Path) -> None:
    """Write ``manifest.json``."""
    images = [
        {
            "id": image.id,
            "sha256": image.sha256,
            "file_name": image.file_name,
            "width": image.width,
            "height": image.height,
            "rank": image.rank,
            "score": image.score,
            "reason": dict(image.reason),
            "shown": image.shown,
            "predictions": [{"label": p.label, "xyxy": list(p.xyxy), "score": p.score} for p in image.predictions],
        }
        for image in batch.images
    ]
    head = {"batch": batch.id, "experiment": batch.experiment, "cycle": batch.cycle, "classes": list(batch.classes)}
    plan = {"plan": {**batch.plan.summary, "detections": list(batch.plan.detections)}} if batch.plan else {}
    write_json(path, {**head, **plan, "image_root": batch.root.as_posix(), "images": images})


def _prediction(entry: Mapping[str, Any]) -> Prediction:
    x1, y1, x2, y2 = map(float, entry["xyxy"])
    return Prediction(entry["label"], (x1, y1, x2, y2), float(entry["score"]))


def _check_texts(batch: Batch) -> None:
    """Raise TypeError for a name that is no text, and ValueError for images of one id or detections of other images."""
    predicted = [one.label for image in batch.images for one in image.predictions]
    files = [text for image in batch.images for text in (image.file_name, image.sha256)]
    if not all(isinstance(text, str) for text in (batch.experiment, *batch.classes, *predicted, *files)):
        raise TypeError
    if not all(isinstance(image.reason, Mapping) for image in batch.images):
        raise TypeError
    if len({image.id for image in batch.images}) != len(batch.images):
        raise ValueError
    if batch.plan is not None and len(batch.plan.detections) != len(batch.images):
        raise ValueError


def read_batch(path: str | Path) -> Batch:
    """Read ``manifest.json``. Raises MgralError if it is none, or was changed by hand."""
    data: Any = read_json(path)
    try:
        images = tuple(
            BatchImage(
                id=int(image["id"]),
                file_name=image["file_name"],
                width=int(image["width"]),
                height=int(image["height"]),
                sha256=image["sha256"],
                rank=int(image["rank"]),
                score=float(image["score"]),
                reason=image["reason"],
                predictions=tuple(map(_prediction, image["predictions"])),
                shown=bool(image["shown"]),
            )
            for image in data["images"]
        )
        plan = Plan(**data["plan"] | {"detections": tuple(data["plan"]["detections"])}) if "plan" in data else None
        head = data["experiment"], int(data["cycle"]), tuple(data["classes"])
        batch = Batch(*head, Path(data["image_root"]), images, plan)
        _check_texts(batch)
        same = batch.id == data["batch"]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MgralError(f"{path}: not the manifest of a batch; run `mgral export` again") from None
    if not same:
        raise MgralError(f"{path}: its images are not those of batch {shown(data['batch'])}; run `mgral export` again")
    return batch
