"""HTTP header fields that several folders read: ``Accept``, ``Accept-Encoding`` and ``Retry-After`` (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import parsedate_to_datetime


def quality_values(header: str) -> dict[str, float]:
    """Return the values of an ``Accept`` or ``Accept-Encoding`` header in small letters, with the quality of each.

    A value without ``q`` has the quality 1, one whose ``q`` is no number 0; of a value that is named twice the last
    counts.
    """
    qualities: dict[str, float] = {}
    for part in header.lower().split(","):
        value, *parameters = (piece.strip() for piece in part.split(";"))
        qualities[value] = _quality(parameters)
    return qualities


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def retry_after_s(header: str | None, at_s: float | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; None where it asks for nothing that can be read.

    Args:
        header: value of the header, a number of seconds or a date; None without one.
        at_s: time of the answer, seconds since 1970 (UTC), that a date is compared with; None: dates are not read.
    """
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header)
    if at_s is None:
        return None
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - at_s)
    except (ValueError, OverflowError):
        return None
