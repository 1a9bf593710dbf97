"""Spellings of one file name: what other systems and tools make of it, and what two names have in common."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

LABEL_STUDIO = re.compile(r"^[0-9a-f]{8}(?:-|__)")
"""What Label Studio puts before the name of an uploaded file."""

ROBOFLOW = re.compile(r"_(?:jpe?g|png|bmp|webp|tiff?)\.rf\.[0-9A-Za-z]+$", re.IGNORECASE)
"""What Roboflow puts after the stem of each file."""


def folded(name: str) -> str:
    r"""A name without regard to case and to the Unicode form (a Mac writes é as two characters).

    >>> folded("E\u0301.JPG") == folded("\u00e9.jpg")
    True
    """
    return unicodedata.normalize("NFC", name).casefold()


def readings(name: str) -> Iterator[tuple[str, str]]:
    """Other names that a name may stand for, each with what such readings are counted as; some may be equal."""
    slashed = name.replace("\\", "/")
    yield slashed, "file names read with / for \\"
    yield unquote(name), "file names read with %20 and the like for what they stand for"
    yield unquote(slashed), "file names read with / for \\ and %20 for a blank"
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, name), "file names read in another Unicode form"
    yield name.strip(), "file names read without blanks around them"


def plain_path(given: str) -> str:
    """The path in a ``file:`` address, or in a link that Label Studio makes of a local file; else the name as given.

    >>> plain_path("file:///data/a%20b.jpg"), plain_path("/data/local-files/?d=set/a.jpg")
    ('/data/a b.jpg', 'set/a.jpg')
    """
    if given.startswith("file://"):
        return unquote(urlsplit(given).path)
    _, mark, path = given.partition("/local-files/?d=")
    return unquote(path) if mark else given


def without_prefix(name: str) -> str:
    """A bare file name without the prefix of Label Studio."""
    return LABEL_STUDIO.sub("", name)


def source_stem(stem: str) -> str:
    """What a stem was before Label Studio or Roboflow renamed the file.

    >>> source_stem("0a1b2c3d-p1"), source_stem("p1_jpg.rf.5e6f")
    ('p1', 'p1')
    """
    return ROBOFLOW.sub("", without_prefix(stem))
