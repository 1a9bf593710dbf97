"""What is wrong with a data set: the first fault ends the import, or all are counted and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NoReturn

from mgral.core.errors import MgralError


class Findings:
    """The faults of one import.

    Attributes:
        root: folder of the data set; files are named below it.
        on_invalid: ``fail``: the first fault raises. ``drop``: what is faulty stays outside and is listed.
        dropped: ``{"file", "id", "what"}`` of everything left out, in the order found.
        clipped: boxes moved by at most one pixel to lie within their image.
    """

    def __init__(self, root: Path, on_invalid: Literal["fail", "drop"] = "fail") -> None:
        self.root = root
        self.on_invalid = on_invalid
        self.dropped: list[dict[str, str]] = []
        self.clipped = 0

    def fault(self, file: str, id: str, what: str, remedy: str) -> None:
        """Note something that can be left out.

        Args:
            file: below the root of the data set.
            id: of the image or object in it.
            what: what is wrong, with the value.
            remedy: what would mend it.

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
        place = ": ".join(part for part in (str(self.root / file), id) if part)
        raise MgralError(line(f"{place}: {what}; {remedy}"))


def line(text: str) -> str:
    """``text`` on one line that any terminal and any UTF-8 file can take."""
    printable = "".join(mark if mark.isprintable() or mark.isspace() else "?" for mark in text)
    return " ".join(printable.split())


def shown(value: Any) -> str:
    """A value from a file for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
