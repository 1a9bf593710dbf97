"""What the plain formats share: copies of the images under unique names, and a table for what boxes cannot say.

COCO, YOLO and VOC know boxes and nothing else. ``states.csv`` (file_name, state, who, seconds, at) may lie beside them:
``mgral export`` writes it with one line an image, and whoever labels fills in what applies. Without a state, an image
with boxes that are not the predicted ones is finished, one without an entry is untouched, and any other is unsaid.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import get_args

from mgral.annotation.exchange import Answer, Batch, BatchImage, Source, State
from mgral.annotation.matching import EXPORTED, Images
from mgral.core.errors import MgralError, nearest
from mgral.core.files import whole

TABLE = "states.csv"
COLUMNS = ("file_name", "state", "who", "seconds", "at")
STATES: frozenset[State] = frozenset({"finished", "skipped", "cannot", "draft", "untouched", "unsaid"})
NEAR = 0.011  # pixels; CVAT writes two decimals


@dataclass(frozen=True)
class Row:
    """One line of the table; ``place`` and ``name`` say which."""

    place: str
    name: str
    state: State | None
    who: str
    seconds: float | None
    at: str


def copy_images(batch: Batch, folder: Path) -> list[Path]:
    """Copy the images of a batch into a folder, under their export names; copies of another batch are removed there.

    Raises:
        MgralError: an image is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {image.export_name for image in batch.images}
    for path in folder.iterdir():
        if EXPORTED.match(path.name) and path.name not in wanted:
            path.unlink()
    for image in batch.images:
        with whole(folder / image.export_name) as temporary:
            try:
                shutil.copyfile(batch.root / image.file_name, temporary)
            except FileNotFoundError:
                raise MgralError(f"{batch.root / image.file_name}: image {image.id} is missing; restore it") from None
    return [folder / image.export_name for image in batch.images]


def write_table(images: Sequence[BatchImage], answers: Mapping[int, Sequence[Answer]], path: Path) -> Path:
    """Write ``states.csv``: a line for each answer, and one without a state for an image that has none."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for image in images:
        for answer in answers.get(image.id, []):
            if answer.state != "untouched":
                state = "" if answer.state == "unsaid" else answer.state
                seconds = "" if answer.seconds is None else repr(answer.seconds)
                rows.writerow([image.export_name, state, answer.who, seconds, answer.at])
        if not answers.get(image.id):
            rows.writerow([image.export_name, "", "", "", ""])
    with whole(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path


def read_table(sources: Sequence[Source]) -> list[Row]:
    """The lines of the table; none if there is no table. Raises MgralError for an unknown state."""
    rows: list[Row] = []
    for source in sources:
        if source.content is None or PurePosixPath(source.name).name.lower() != TABLE:
            continue
        try:
            lines = list(csv.DictReader(io.StringIO(source.content.decode("utf-8-sig"))))
        except (UnicodeDecodeError, csv.Error) as error:
            raise MgralError(f"{source.place}: not a table ({error}); save it as CSV in UTF-8") from None
        for number, line in enumerate(lines, start=2):
            name, state = (line.get("file_name") or "").strip(), (line.get("state") or "").strip()
            if not name:
                raise MgralError(f"{source.place}: line {number}: has no file_name; columns: {', '.join(COLUMNS)}")
            if state and state not in get_args(State):
                known = sorted(STATES - {"unsaid"})
                raise MgralError(f"{source.place}: line {number}: unknown state {state!r}; {nearest(state, known)}")
            try:
                seconds = float(line["seconds"]) if (line.get("seconds") or "").strip() else None
                if seconds is not None and not 0 <= seconds < math.inf:
                    raise ValueError
            except ValueError:
                raise MgralError(f"{source.place}: line {number}: seconds is no number; correct it") from None
            said: State | None = state or None  # type: ignore[assignment]
            who, at = (line.get("who") or "").strip(), (line.get("at") or "").strip()
            rows.append(Row(f"{source.place}: line {number}", name, said, who, seconds, at))
    return rows


def stem(name: str) -> str:
    """A file's name without folders and suffix."""
    return PurePosixPath(name.replace("\\", "/")).stem


def judged(answers: Sequence[Answer], table: Sequence[Row], batch: Batch) -> list[Answer]:
    """The answers with what the table says of them, and with the states that boxes alone cannot give.

    Args:
        answers: ``finished``, as the files have them.
        table: of :func:`read_table`.
        batch: whose predictions may have come back unseen.

    Raises:
        MgralError: two lines of the table are about one image.
    """
    images = Images(batch.images)
    known: dict[int | str, BatchImage] = {image.id: image for image in batch.images}
    rows: dict[int | str, Row] = {}
    for row in table:
        if rows.setdefault(key := _key(row.name, images, batch), row) is not row:
            raise MgralError(f"{row.place}: {row.name} is duplicated; keep one line for each image")
    out, named = [], set()
    for answer in answers:
        named.add(key := _key(answer.name, images, batch))
        said = rows.get(key)
        if said is not None:
            answer = replace(answer, who=said.who, seconds=said.seconds, at=said.at)
        if said is not None and said.state is not None:
            answer = replace(answer, state=said.state)
        elif not answer.boxes or unchanged(answer, known.get(key)):
            answer = replace(answer, state="unsaid")
        out.append(answer)
    for key, row in rows.items():
        if row.state is not None and key not in named:
            out.append(Answer(row.name, row.state, who=row.who, seconds=row.seconds, at=row.at))
    return out


def _key(name: str, images: Images, batch: Batch) -> int | str:
    """The id of the image that a name is about, else its stem: two folders may hold files of one name."""
    try:
        return images.find(Answer(name, "finished"), batch.id)
    except MgralError:  # of another batch, or of no one image: that is refused where answers are matched
        return stem(name)


def unchanged(answer: Answer, image: BatchImage | None) -> bool:
    """Whether the boxes are exactly the predicted ones: then nobody may have seen them."""
    if image is None or not image.predictions or len(answer.boxes) != len(image.predictions):
        return False
    left = list(answer.boxes)
    for predicted in image.predictions:
        for box in left:
            near = max(abs(a - b) for a, b in zip(box.xyxy, predicted.xyxy, strict=True)) <= NEAR
            if near and box.label == predicted.label:
                left.remove(box)
                break
        else:
            return False
    return True


def of_predictions(batch: Batch) -> dict[int, list[Answer]]:
    """The predictions as if they were answers, to write them in a format that has no other place for them."""
    from mgral.annotation.exchange import AnswerBox

    return {
        image.id: [
            Answer(
                image.export_name,
                "unsaid",
                tuple(AnswerBox(p.label, p.xyxy, "prediction") for p in image.predictions),
            )
        ]
        for image in batch.images
        if image.predictions
    }


def one(answers: Sequence[Answer], image: BatchImage) -> Answer | None:
    """The only answer that a format without people can hold; None of an image that was not touched."""
    given = [answer for answer in answers if answer.state != "untouched"]
    if len(given) > 1:
        raise MgralError(f"image {image.id}: two people labelled it, and this format holds one answer an image")
    return given[0] if given else None
