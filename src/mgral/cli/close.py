"""Let the run go on with what people returned. What comes later changes nothing of this cycle."""

from __future__ import annotations

import argparse

from mgral.annotation import labels
from mgral.annotation.returns import Closed, ExtraImage
from mgral.cli import _people
from mgral.core.errors import MgralError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partial", action="store_true", help="although images are open; these go back to the pool")
    _people.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    asked = _people.find(arguments)
    with asked.folder.locked():
        closed, outcome = _closed(asked, arguments.partial)
        asked.folder.close(closed)
    print("\n".join(_people.summary(asked, outcome)))
    if closed.added:
        print(f"pool of cycle {asked.batch.cycle + 1}: {_people.images(len(closed.added))} more, added since")
    print(f"{asked.folder.closed}: closed; next:")
    print("\n".join(_people.going_on(arguments.params)))


def _closed(asked: _people.Asked, partial: bool) -> tuple[Closed, labels.Outcome]:
    """What is closed, and what people said. Raises MgralError where the batch cannot be closed."""
    batch, folder = asked.batch, asked.folder
    if folder.closed.exists():
        raise MgralError(f"{folder.closed}: cycle {batch.cycle} is closed already; nothing to do")
    files = folder.returned(batch)
    outcome = asked.outcome(asked.read(files))
    if not outcome.ids("finished"):
        raise MgralError(f"{folder.path}: no image of batch {batch.id} is finished; return labels with `mgral return`")
    named = {image.id: image.file_name for image in (*batch.images, *asked.extras())}
    unsaid = outcome.ids("unsaid")
    if unsaid:
        raise MgralError(
            f"{folder.path}: {_people.images(len(unsaid))}, {named[unsaid[0]]!r} first, came back without boxes or "
            "with the predicted ones, and the tool cannot tell whether anybody opened them; say it there (CVAT: a tag, "
            "else states.csv), or set annotation.unsaid to empty or unlabelled"
        )
    waiting = labels.open_images(outcome, asked.params.annotation.annotators)
    if waiting and not partial:
        raise MgralError(
            f"{folder.path}: {len(waiting)} of {len(batch.images)} images are open, {named[waiting[0]]!r} first; "
            "return them, or go on without them with --partial"
        )
    extras = [image for image in asked.extras() if image.id in outcome.images]
    closed = Closed(
        batch=batch.id,
        experiment=batch.experiment,
        cycle=batch.cycle,
        partial=bool(waiting),
        classes=asked.classes,
        annotation=asked.params.annotation,
        extras=[ExtraImage.of(image) for image in extras],
        added=asked.joining(),
        files=files,
    )
    return closed, outcome
