"""JSON of returned files."""

from __future__ import annotations

import json
from typing import Any

from mgral.annotation.exchange import Source
from mgral.core.errors import MgralError


def parsed(source: Source) -> Any:
    """The JSON in a source. Raises MgralError if it is half-written or none."""
    try:
        return json.loads((source.content or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of which UnicodeDecodeError, and a number of 5,000 digits
        raise MgralError(f"{source.place}: not whole, valid JSON ({error}); export it again") from None
