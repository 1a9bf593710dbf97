"""What the verbs for people share: where a batch and its answers lie, and what all answers say together."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from mgral.annotation import exchange, labels
from mgral.annotation.exchange import Batch, BatchImage
from mgral.annotation.labels import Outcome
from mgral.annotation.returns import ExtraImage, Folder, ReturnedFile
from mgral.cli import _arguments
from mgral.config.annotation import Annotation, Oracle
from mgral.config.base import Count, Settings
from mgral.config.schema import Name, Strategy
from mgral.core import run_layout
from mgral.core.errors import MgralError
from mgral.data import identity

_ORIGINS = {
    "prediction": "as predicted",
    "prediction-changed": "changed",
    "manual": "drawn",
    "unknown": "of unknown origin",
}


class Params(Settings):
    """What these verbs read."""

    experiment: Name
    seeds: list[Count]
    strategies: list[Strategy]
    annotation: Annotation
    oracle: Oracle = Field(default_factory=Oracle, description="who answers for the labels of a batch")


@dataclass(frozen=True)
class Asked:
    """A batch that people are asked, and the folder of their answers."""

    params: Params
    batch: Batch
    folder: Folder

    @property
    def classes(self) -> list[str]:
        """Of the data set from the next cycle on: the batch's, and new ones."""
        new = [name for name in self.params.annotation.classes if name not in self.batch.classes]
        return [*self.batch.classes, *new]

    def extras(self) -> list[BatchImage]:
        """Registered images of the pool that the batch does not ask for."""
        path = Path(run_layout.register(self.folder.path.parent))
        if self.params.annotation.extra == "refuse" or not path.exists():
            return []
        asked = {image.id for image in self.batch.images}
        register = identity.read_register(path, self.params.experiment)
        return [
            BatchImage(one.id, one.file_name, one.width, one.height, one.sha256, 0)
            for one in register.images
            if one.id not in asked and one.split == "train"
        ]

    def joining(self) -> list[ExtraImage]:
        """Registered images that join the pool of the next cycle: added since the run began, and in no earlier one."""
        path = Path(run_layout.register(self.folder.path.parent))
        if not path.exists():
            return []
        earlier = [Folder(Path(run_layout.answers_folder(path.parent, c))) for c in range(self.batch.cycle)]
        there = {image.id for one in earlier if one.closed.exists() for image in one.read_closed().added}
        return [
            ExtraImage.of(one)
            for one in identity.read_register(path, self.params.experiment).images
            if 0 < one.since <= self.batch.cycle + 1 and one.split == "train" and one.id not in there
        ]

    def require_registered(self) -> None:
        """Refuse a batch of other pictures than were registered: what people say of them is not about the run's.

        Raises:
            MgralError: the file of an image was replaced before the batch was made, or the register was.
        """
        path = Path(run_layout.register(self.folder.path.parent))
        if not path.exists():
            return
        known = {one.id: one.sha256 for one in identity.read_register(path, self.params.experiment).images}
        for image in self.batch.images:
            if known.get(image.id) != image.sha256:
                raise MgralError(
                    f"{path}: image {image.id} ({image.file_name}) is not the one that batch {self.batch.id} asks "
                    "about; restore this file, or the image's file and run `mgral export` again"
                )

    def outcome(self, files: list[tuple[str, exchange.Returned]]) -> Outcome:
        """What these files say together. Raises MgralError."""
        annotation = self.params.annotation
        return labels.settle(self.batch, self.extras(), files, self.classes, annotation.map, annotation)

    def read(self, files: list[ReturnedFile]) -> list[tuple[str, exchange.Returned]]:
        """Read returned files. Raises MgralError."""
        annotation = self.params.annotation
        return self.folder.read_all(files, self.batch, annotation.tool, annotation.options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which batch is meant."""
    _arguments.add(parser, "params")
    parser.add_argument("--cycle", type=int, help="of the batch; default: the first that is exported and not closed")
    parser.add_argument("--manifest", type=Path, help="manifest.json of the batch; default: where the run has it")
    parser.add_argument("--annotations", type=Path, help="folder of answers; default data/annotations/<experiment>")


def find(arguments: argparse.Namespace, closed: bool = False) -> Asked:
    """The batch that is meant.

    Args:
        arguments: of :func:`add_arguments`.
        closed: whether a closed batch will do, if no other is there.

    Raises:
        MgralError: there is none.
    """
    params = _arguments.read_params(Params, arguments.params)
    annotations = arguments.annotations or Path(run_layout.annotations_folder(params.experiment))
    manifest = arguments.manifest or _manifest(params, annotations, arguments, closed)
    batch = exchange.read_batch(manifest)
    if batch.experiment != params.experiment:
        raise MgralError(f"{manifest}: of experiment {batch.experiment}, not {params.experiment}; give its parameters")
    folder = Folder(Path(run_layout.answers_folder(annotations, batch.cycle)))
    if folder.manifest.exists():
        kept = exchange.read_batch(folder.manifest)
        batch = kept if kept.id == batch.id else batch
    return Asked(params, batch, folder)


def _manifest(params: Params, annotations: Path, arguments: argparse.Namespace, closed: bool) -> Path:
    """The manifest of the batch of a cycle; without one, of the first batch that is not closed, else of the last.

    A clone without the files of the run has the batches that were sent or answered.
    """
    run, cycle = run_layout.run_folder(params.experiment), arguments.cycle
    there = {}
    for folder in [
        *annotations.glob("cycle-*"),
        *Path(run, params.strategies[0].name, f"seed-{params.seeds[0]}").glob("cycle-*"),
    ]:
        for name in (Folder.MANIFEST, run_layout.CYCLE.manifest):
            if (folder / name).exists():
                there[int(folder.name.removeprefix("cycle-"))] = folder / name
    if cycle is None:
        waiting = [one for one in sorted(there) if not Folder(annotations / f"cycle-{one}").closed.exists()]
        cycle = next(iter(waiting or (sorted(there)[-1:] if closed else [])), None)
        if cycle is None and params.oracle.kind != "people":
            raise MgralError(f"oracle: {params.oracle.kind}: the run asks nobody, so no batch waits; set people")
        if cycle is None:
            raise MgralError(
                f"{run}: no batch is waiting for people; `{_arguments.computing(arguments.params)}` makes one"
            )
    if cycle not in there:
        made = f"`{_arguments.computing(arguments.params)}` makes it when its turn comes"
        raise MgralError(f"{run}: no batch of cycle {cycle} is exported; {made}")
    return there[cycle]


def summary(asked: Asked, outcome: Outcome) -> list[str]:
    """What is known of a batch, for people to read."""
    batch, of_batch = asked.batch, [image for image in outcome.images.values() if image.asked]
    people = asked.params.annotation.annotators
    states = {state: sum(image.state == state for image in of_batch) for state in ("finished", "skipped", "cannot")}
    waiting = labels.open_images(outcome, people)
    unsaid = len([i for i in outcome.ids("unsaid") if outcome.images[i].asked])
    done = [image for image in outcome.images.values() if image.state == "finished"]
    boxes = [box for image in done for box in image.boxes]
    origins = {origin: sum(box.origin == origin for box in boxes) for origin in sorted({box.origin for box in boxes})}
    seconds = [one["seconds"] for image in done for one in image.people if one["seconds"] is not None]
    plan = batch.plan
    lines = [
        f"batch {batch.id} of cycle {batch.cycle}: {images(len(batch.images))} asked, {states['finished']} finished, "
        f"{states['skipped']} skipped, {states['cannot']} cannot be labelled, {len(waiting)} open"
        + (f" (until {people} people have finished it)" if people > 1 else ""),
        f"boxes: {len(boxes)}"
        + (f" ({', '.join(f'{n} {_ORIGINS.get(o, o)}' for o, n in origins.items())})" if boxes else ""),
    ]
    if plan is not None:
        total, expected = plan.amount + plan.carried, f"{plan.expected:.0f} ({plan.low:.0f} to {plan.high:.0f})"
        lines.append(f"budget: {total:.0f} {plan.unit}, {plan.carried:+.0f} of them carried; expected {expected}")
    if unsaid:
        lines.append(
            f"unsaid: {images(unsaid)}, of which the tool cannot tell whether anybody opened them; mark them as "
            "checked there, or set annotation.unsaid"
        )
    if extra := len(done) - states["finished"]:
        lines.append(f"{images(extra)} more that the batch did not ask for")
    shared = [image.agreement for image in done if len(image.people) > 1]
    if shared:
        total = sum(one.boxes for one in shared)
        f1 = 2 * sum(one.matched for one in shared) / total if total else 1.0
        conflicts = sum(one.conflicts for one in shared)
        disputed = f"{conflicts} {'box' if conflicts == 1 else 'boxes'} in conflict"
        lines.append(f"{images(len(shared))} of several people: F1 {f1:.3f} between them, {disputed}")
    if seconds:
        answers = f"{len(seconds)} {'answer' if len(seconds) == 1 else 'answers'} with a time"
        lines.append(f"minutes: {sum(seconds) / 60:.1f} in {answers}")
    without = [image for image in done if image.asked and not image.shown]
    with_them = [image for image in done if image.asked and image.shown]
    if without and with_them:
        means = [sum(len(image.boxes) for image in some) / len(some) for some in (without, with_them)]
        lines.append(f"boxes an image: {means[0]:.1f} where no predictions were shown, {means[1]:.1f} elsewhere")
    return [*lines, *(f"{what}: {times}" for what, times in outcome.counts.items())]


def read_one(
    path: Path, tool: str, asked: Asked, corrects: int | None
) -> tuple[list[exchange.Source], exchange.Returned]:
    """Read one returned file or folder. Raises MgralError."""
    annotation = asked.params.annotation
    found = exchange.sources(path)
    options = annotation.options if tool == annotation.tool else {}
    return found, asked.folder.read(tool, found, asked.batch, options, corrects)


def images(number: int) -> str:
    """A number of images, in words."""
    return f"{number} image{'' if number == 1 else 's'}"


def to_close(params: Sequence[str]) -> str:
    """What comes after an answer, with the parameter files that a verb was given."""
    return f"not closed yet; when enough are labelled: mgral close --params {shlex.join(params)}"


def going_on(params: Sequence[str]) -> list[str]:
    """The commands that compute the next cycle: without and with DVC, of the parameter files that a verb was given."""
    dvc = f"or, with DVC: {_arguments.computing(params, '--cores 1 --force')} -- dvc.yaml && dvc repro"
    return [f"  {_arguments.computing(params)}", dvc]
