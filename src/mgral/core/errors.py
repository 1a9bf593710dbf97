"""The one error a user may see, and the phrase that helps with a misspelt name."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class MgralError(Exception):
    """Bad input: one line that names the file, key or id, and the remedy.

    The command line prints it after ``mgral: `` and exits with 2. Everything else that escapes is a
    fault of the program and keeps its traceback.
    """


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 60, 60, 40


def shown(value: Any) -> str:
    """A value from a file for a message, cut where it is long; never expanded whole, however it nests.

    >>> shown("x" * 200)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    try:
        text = _REPR.repr(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else _short(value)
    except ValueError:  # a number of more digits than Python prints
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _short(value: Any) -> str:
    return repr(value[:200]) if isinstance(value, (str, bytes)) else repr(value)


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an unknown name: ``did you mean 'x'?`` where one is near, else the valid names.

    >>> nearest("entropi", ["entropy", "random"])
    "did you mean 'entropy'? (valid: entropy, random)"
    """
    names = sorted(valid)
    name = name[:80]
    listed = f"valid: {', '.join(names)}"
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'? ({listed})" if close else listed
