"""What is wrong with a data set: the first fault ends the import, or all are counted and listed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal, NoReturn

from mgral.core.errors import MgralError, shown

__all__ = ["Findings", "line", "shown"]


class Findings:
    """The faults of one import, and what a user should know about it.

    Attributes:
        root: folder of the data set; files are named below it.
        links, match: how links and names are taken, as ``dataset.links`` and ``dataset.match`` say.
        on_invalid: ``fail``: the first fault raises. ``drop``: what is faulty stays outside and is listed.
        dropped: ``{"file", "id", "what"}`` of everything left out, in the order found.
        clipped: boxes moved by at most one pixel to lie within their image.
        fallen: objects that were left out, those of images left out among them.
        notes: what was read in another way than the files say, or is doubtful; one line each.
        passed_over: files by suffix that look like data and cannot be read here.
    """

    def __init__(
        self,
        root: Path,
        on_invalid: Literal["fail", "drop"] = "fail",
        links: Literal["refuse", "follow"] = "refuse",
        match: Literal["path", "name"] = "path",
    ) -> None:
        self.root = root
        self.links = links
        self.match = match
        self.finder: Any = None  # of these links and names; made by mgral.data.locating.finder
        self.on_invalid = on_invalid
        self.dropped: list[dict[str, str]] = []
        self.clipped = 0
        self.fallen = 0
        self.notes: list[str] = []
        self.passed_over: Counter[str] = Counter()
        self._counted: dict[str, tuple[int, str]] = {}

    def fault(self, file: str, id: str, what: str, remedy: str) -> None:
        """Note something that can be left out.

        Args:
            file: below the root of the data set.
            id: of the image or object in it.
            what: what is wrong, with the value.
            remedy: what would fix it.

        Raises:
            MgralError: ``on_invalid`` is ``fail``.
        """
        if self.on_invalid == "fail":
            self.refuse(file, id, what, f"{remedy}, or leave it out with dataset.on_invalid: drop")
        self.dropped.append({"file": line(file), "id": line(id), "what": line(what)})

    def refuse(self, file: str, id: str, what: str, remedy: str) -> NoReturn:
        """End the import: what is wrong cannot be left out.

        Raises:
            MgralError: always.
        """
        place = ": ".join(_cut(part) for part in (str(self.root / file), id) if part)
        raise MgralError(line(f"{place}: {_cut(what)}; {_cut(remedy)}"))

    def note(self, text: str) -> None:
        """Something a user should know; it does not stop the import."""
        text = _cut(line(text))
        if text not in self.notes:
            self.notes.append(text)

    def count(self, what: str, example: str) -> None:
        """Count something of which a data set may hold many; one note in the end, with the first example."""
        number, first = self._counted.get(what, (0, example))
        self._counted[what] = (number + 1, first)

    def counts(self) -> dict[str, int]:
        """How often each thing was counted."""
        return {what: number for what, (number, _) in self._counted.items()}

    def tell_counts(self) -> None:
        """Turn what was counted into notes."""
        for what, (number, first) in self._counted.items():
            self.note(f"{number} {what} (the first: {first})")
        self._counted.clear()


def _cut(text: str, most: int = 500) -> str:
    """Text whose middle is left out where it is long."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def line(text: Any) -> str:
    """``text`` on one line that any terminal and any UTF-8 file can take."""
    text = str(text)
    printable = "".join(mark if mark.isprintable() or mark.isspace() else "?" for mark in text)
    return " ".join(printable.split())
