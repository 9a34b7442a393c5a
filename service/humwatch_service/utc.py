"""Times in words, as logs and messages have them."""

from __future__ import annotations

import time


def utc_text(time_s: float) -> str:
    """Return a time, seconds since 1970, in ISO 8601 (UTC); the number itself where no calendar has it."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
    except (OverflowError, ValueError, OSError):
        return f"{time_s:g} s since 1970"
