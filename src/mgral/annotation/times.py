"""Times that tools write, for comparison."""

from __future__ import annotations

import math
from datetime import UTC, datetime

Moment = tuple[float, str]


def moment(at: str) -> Moment:
    """Seconds since 1970 of a time in ISO 8601, whatever its time zone; UTC where it names none.

    What is no such time is older than any, and compared as text.
    """
    try:
        time = datetime.fromisoformat(at)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp(), ""
    except (ValueError, OverflowError):
        return -math.inf, at
