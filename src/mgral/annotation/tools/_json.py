"""JSON of returned files."""

from __future__ import annotations

import json
from typing import Any

from mgral.annotation.exchange import Source
from mgral.core.errors import MgralError
from mgral.core.files import DuplicateKeyError, each_key_once, half_character


def parsed(source: Source) -> Any:
    """The JSON in a source.

    Raises:
        MgralError: it is half-written or none, or holds a key twice or half a character.
    """
    try:
        content = source.content or b""
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=each_key_once)
        half = half_character(content, value)
    except DuplicateKeyError as error:
        raise MgralError(f"{source.place}: key {error} occurs twice in one object; remove one of them") from None
    except (ValueError, RecursionError) as error:  # of which UnicodeDecodeError, and a number of 5,000 digits
        raise MgralError(f"{source.place}: not whole, valid JSON ({error}); export it again") from None
    if half:
        raise MgralError(f"{source.place}: {half} holds half a character (a lone surrogate); correct it in the tool")
    return value
