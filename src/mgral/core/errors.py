"""The one error a user may see, and the phrase that helps with a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MgralError(Exception):
    """Bad input: one line that names the file, key or id, and the remedy.

    The command line prints it after ``mgral: `` and exits with 2. Everything else that escapes is a
    fault of the program and keeps its traceback.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an unknown name: ``did you mean 'x'?`` where one is near, else the valid names.

    >>> nearest("entropi", ["entropy", "random"])
    "did you mean 'entropy'? (valid: entropy, random)"
    """
    names = sorted(valid)
    listed = f"valid: {', '.join(names)}"
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'? ({listed})" if close else listed
