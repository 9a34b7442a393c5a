"""Words for a client whose sound is dated otherwise than it said, or than before."""

from __future__ import annotations

from typing import Final

from humwatch_service.protocol.limits import EARLIEST_S
from humwatch_service.protocol.messages import Warn
from humwatch_service.streams.burst_repeat import Finding
from humwatch_service.streams.sample_clock import Note, can_be
from humwatch_service.utc import utc_text

_UNDATED: Final = "alarms are dated now, its seconds are kept in the history from a day ago on: say start_time_s"
_FINER: Final = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_WORDS: Final[dict[Note, str]] = {
    "clock_set": "the service's clock was set, or its box slept: the times of what comes follow it",
    "undated": f"the sound comes faster than time, and nobody said when it was recorded; {_UNDATED}",
    "from_the_future": f"by the start_time_s that was said, what comes would be from the future; {_UNDATED}",
}


def warning_of(note: Note) -> Warn:
    """Return the message for a change while a stream is open."""
    return Warn(code=note, message=_WORDS[note], active=True)


def ignored(time_s: float, now_s: float) -> Warn:
    """Return the message for a time, seconds since 1970, at which nothing can have been recorded."""
    why = "is before 1990" if time_s < EARLIEST_S else f"is after {utc_text(now_s)}, which it is by the service's clock"
    if unit := next((unit for unit, factor in _FINER.items() if can_be(time_s / factor, now_s)), ""):
        why += f" (a count of {unit}? it is in seconds)"
    message = f"start_time_s: the sound would be from {utc_text(time_s)}, which {why}; it is dated by its arrival"
    return Warn(code="start_time_ignored", message=message, active=True)


def repeated(finding: Finding, start_s: float) -> Warn:
    """Return the message for a burst whose start, seconds since 1970, is that of the burst before."""
    if finding == "sent_again":
        message = f"the burst of {utc_text(start_s)} was sent before: what was heard of it is not heard again"
    else:
        message = f"start_time_s: {utc_text(start_s)} was said of another burst; this one is dated by its arrival"
    return Warn(code=finding, message=message, active=True)
