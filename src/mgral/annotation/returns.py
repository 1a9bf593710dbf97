"""What people returned, on disk: ``data/annotations/<experiment>/cycle-<c>/``, in git or DVC, never changed.

``001-label_studio.json``  a returned file as it came; a folder as a zip archive of its texts
``returned.json``          the files, in the order they came: name, sha256, tool
``manifest.json``          the batch as it was sent or first answered
``closed.json``            the files that count, with the classes, the other images and the rules as they were then. A
                           run goes on when this is there, and reads no other file and no parameter: what comes later
                           changes nothing
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from mgral.annotation import exchange
from mgral.annotation.exchange import Batch, BatchImage, Returned, Source
from mgral.config.annotation import Annotation
from mgral.config.base import Settings
from mgral.core import plugins, run_layout
from mgral.core.errors import MgralError
from mgral.core.files import locked, read_json, write_bytes, write_json
from mgral.core.types import Image

if TYPE_CHECKING:
    from mgral.data.identity import Registered

OF_ONE_IMAGE = {".txt", ".xml"}  # of a single file its name may say the image: two of the same content are two answers


class ReturnedFile(Settings):
    """One entry of ``returned.json``.

    Attributes:
        name: in the folder.
        sha256: of the file.
        tool: that wrote it.
        corrects: the earlier cycle whose batch it holds, with corrections; None for answers to the batch itself.
        given: the name of a single file as it was returned, which may say whose labels it holds.
    """

    name: str = Field(pattern=r"^[0-9]{3,}-[^/]*$", max_length=255)
    sha256: str
    tool: str
    corrects: int | None = None
    given: str | None = None


class _Returns(Settings):
    batch: str
    files: list[ReturnedFile]


class ExtraImage(Settings):
    """An image that the batch did not ask for, as it was registered when the batch was closed."""

    id: int
    sha256: str
    file_name: str
    width: int
    height: int

    @classmethod
    def of(cls, image: BatchImage | Registered) -> Self:
        """The same image, as a batch or the register has it."""
        return cls(id=image.id, sha256=image.sha256, file_name=image.file_name, width=image.width, height=image.height)


class Closed(Settings):
    """``closed.json``.

    Attributes:
        batch, experiment, cycle: what is closed.
        partial: whether images were open.
        classes: of the data set from the next cycle on.
        annotation: the group of the experiment, as it was then.
        extras: other images that were labelled.
        added: images that were registered after the run began and join the pool of the next cycle.
        files: that count, in the order they came.
    """

    batch: str
    experiment: str
    cycle: int
    partial: bool
    classes: list[str]
    annotation: Annotation
    extras: list[ExtraImage] = Field(default_factory=list)
    added: list[ExtraImage] = Field(default_factory=list)
    files: list[ReturnedFile]

    def added_images(self) -> list[Image]:
        """The images that join the data set with the next cycle."""
        since = self.cycle + 1
        return [Image(one.id, one.file_name, one.width, one.height, "train", since) for one in self.added]

    def extra_images(self) -> list[BatchImage]:
        """The other images, for :func:`mgral.annotation.labels.settle`."""
        return [BatchImage(one.id, one.file_name, one.width, one.height, one.sha256, 0) for one in self.extras]


@dataclass(frozen=True)
class Folder:
    """The folder of one batch.

    Attributes:
        path: ``data/annotations/<experiment>/cycle-<c>``.
    """

    path: Path
    MANIFEST: ClassVar[str] = "manifest.json"

    @property
    def closed(self) -> Path:
        """The file that lets the run go on."""
        return self.path / "closed.json"

    @property
    def manifest(self) -> Path:
        """The batch as it was sent or first answered: what is exported again with other predictions is not it."""
        return self.path / self.MANIFEST

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from returning or closing meanwhile: of two at once, one's labels would be lost."""
        return locked(self.path)

    def keep(self, batch: Batch) -> None:
        """Remember the batch that people answer; one that was kept before stays, unless it is another."""
        if not self.manifest.exists() or exchange.read_batch(self.manifest).id != batch.id:
            exchange.write_batch(batch, self.manifest)

    def returned(self, batch: Batch) -> list[ReturnedFile]:
        """The files returned so far. Raises MgralError if they answer another batch."""
        note = self.path / "returned.json"
        if not note.exists():
            return []
        returns = _Returns.parse(read_json(note), f"{note}:")
        if returns.batch != batch.id:
            raise MgralError(
                f"{note}: answers batch {returns.batch}, and the run now asks {batch.id}: parameters or data have "
                "changed since; restore them, or move the folder away and annotate the new batch"
            )
        return returns.files

    def read_closed(self) -> Closed:
        """Read ``closed.json``. Raises MgralError."""
        return Closed.parse(read_json(self.closed), f"{self.closed}:")

    def closed_batch(self) -> tuple[Closed, Batch]:
        """What is closed, and the batch. Raises MgralError if they do not belong together."""
        closed, batch = self.read_closed(), exchange.read_batch(self.manifest)
        if closed.batch != batch.id:
            raise MgralError(
                f"{self.closed}: closes batch {closed.batch}, and {self.manifest.name} beside it is batch {batch.id}; "
                "restore both (git, or `dvc pull`)"
            )
        return closed, batch

    def counted(self) -> list[str]:
        """The files that the labels of a closed batch are made of. Raises MgralError."""
        names = [file.name for file in self.read_closed().files]
        return [str(path) for path in (self.closed, self.manifest, *(self.path / name for name in names))]

    def take(
        self, batch: Batch, given: Sequence[tuple[Path, Sequence[Source]]], tool: str, corrects: int | None = None
    ) -> list[ReturnedFile]:
        """Keep returned files that have been judged: all of them, or none.

        Args:
            batch: that they answer.
            given: the files, with what was read of each.
            tool: that wrote them.
            corrects: the earlier cycle whose batch they correct.

        Raises:
            MgralError: the batch is closed, or one of the files has been returned before.
        """
        if self.closed.exists():
            raise MgralError(f"{self.closed}: cycle {batch.cycle} is closed; what comes later counts for a later cycle")
        files = self.returned(batch)
        contents: dict[str, bytes] = {}
        for file, found in given:
            single = len(found) == 1 and found[0].place == str(file)
            content = (found[0].content or b"") if single else exchange.pack(found)
            sha = hashlib.sha256(content).hexdigest()
            own = file.name if single else None
            named = own if file.suffix.lower() in OF_ONE_IMAGE else None
            same = [one.name for one in files if one.sha256 == sha and named in (None, one.given)]
            if same:
                before = "is given twice" if same[0] in contents else f"was returned before, as {same[0]}"
                raise MgralError(f"{file}: {before}; leave it out")
            name = f"{len(files) + 1:03d}-{tool}{file.suffix.lower() if single else '.zip'}"
            files = [*files, ReturnedFile(name=name, sha256=sha, tool=tool, corrects=corrects, given=own)]
            contents[name] = content
        for name, content in contents.items():
            write_bytes(self.path / name, content)
        self.keep(batch)
        returns = _Returns(batch=batch.id, files=files)
        write_json(self.path / "returned.json", returns.model_dump(mode="json"))
        return files[len(files) - len(contents) :]

    def close(self, closed: Closed) -> None:
        """Write ``closed.json``."""
        entries = closed.model_dump(mode="json")
        write_json(self.closed, entries if closed.added else {k: v for k, v in entries.items() if k != "added"})

    def read_all(
        self, files: Sequence[ReturnedFile], batch: Batch, tool: str, options: Mapping[str, Any]
    ) -> list[tuple[str, Returned]]:
        """Read returned files by their tools.

        Args:
            files: of ``returned.json`` or ``closed.json``.
            batch: that they answer.
            tool: that ``options`` are of; others have their defaults.
            options: ``annotation.options``.

        Raises:
            MgralError: a file is missing, was changed, or cannot be read.
        """
        found = []
        for file in files:
            path = self.path / file.name
            if not path.exists():
                raise MgralError(f"{path}: missing; restore it (git, or `dvc pull`)")
            if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                raise MgralError(f"{path}: was changed after it was returned; restore it")
            given = options if file.tool == tool else {}
            texts = exchange.sources(path)
            if file.given:
                texts = [replace(texts[0], name=file.given)]
            found.append((file.name, self.read(file.tool, texts, batch, given, file.corrects)))
        return found

    def read(
        self, tool: str, found: Sequence[Source], batch: Batch, options: Mapping[str, Any], corrects: int | None
    ) -> Returned:
        """What a tool returned for the batch, or for an earlier one that it corrects.

        Of a correction only finished images count: what was skipped then says nothing today.

        Raises:
            MgralError: a file that the tool did not write, or of another batch than it is said to correct.
        """
        if corrects is None:
            return read(tool, found, batch, options)
        earlier = Folder(Path(run_layout.answers_folder(self.path.parent, corrects)))
        if corrects >= batch.cycle or not earlier.closed.exists():
            raise MgralError(f"{earlier.closed}: cycle {corrects} is not closed; return the file without --corrects")
        old = exchange.read_batch(earlier.manifest)
        returned = read(tool, found, old, options)
        other = [answer for answer in returned.answers if answer.batch not in (None, old.id)]
        if other:
            raise MgralError(f"{other[0].name}: of batch {other[0].batch}, and cycle {corrects} asked batch {old.id}")
        answers = [replace(answer, batch=None) for answer in returned.answers if answer.state == "finished"]
        return replace(returned, answers=answers, corrects=True)


def read(tool: str, found: Sequence[Source], batch: Batch, options: Mapping[str, Any]) -> Returned:
    """What a tool returned. Raises MgralError: an unknown tool, unfit options, or a file that it did not write."""
    plugin = plugins.load("annotators", tool)
    returned: Returned = plugin.read(found, batch, plugin.Options.parse(dict(options), "annotation.options"))
    return returned
