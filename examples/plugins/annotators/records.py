"""records: one JSON file, ``{file name: [{"label": …, "xyxy": […]}, …]}`` in pixels, the images and states.csv."""

from __future__ import annotations

from mgral.annotation.exchange import Answer, AnswerBox, Returned
from mgral.annotation.tools import _folders
from mgral.annotation.tools._json import parsed
from mgral.config.base import Settings
from mgral.core.errors import MgralError
from mgral.core.files import write_json

FILE, STATES = "boxes.json", _folders.STATES


class Options(Settings):
    """There are none."""


def export(batch, folder, options):
    """Write the images, no box of any, and states.csv, where people say what boxes cannot."""
    return [*respond(batch, {}, folder), *_folders.copy_images(batch, folder)]


def read(sources, batch, options):
    """Read the boxes. Raises MgralError if the file is missing or not of this form."""
    try:
        content = parsed(next(source for source in sources if source.name == FILE))
        boxes = {name: [AnswerBox(b["label"], tuple(b["xyxy"])) for b in rows] for name, rows in content.items()}
    except (StopIteration, AttributeError, KeyError, TypeError) as error:
        raise MgralError(f"no {FILE}, or not of its form ({error!r}); return the exported folder") from None
    answers = [Answer(name, "finished", tuple(given)) for name, given in boxes.items()]
    return Returned(_folders.judged(answers, _folders.read_table(sources), batch), "records")


def respond(batch, answers, folder):
    """Write what people return who gave these answers."""
    said = {image.export_name: _folders.one(answers.get(image.id, []), image) for image in batch.images}
    boxes = {name: [{"label": b.label, "xyxy": b.xyxy} for b in one.boxes] if one else [] for name, one in said.items()}
    write_json(folder / FILE, boxes)
    return [folder / FILE, _folders.write_table(batch.images, answers, folder / _folders.TABLE)]
