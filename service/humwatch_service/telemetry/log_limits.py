"""Limits of the log: of the length of a record, and of repetitions of the same trouble."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any, Final

REPEATS: Final = 10
"""Records of one kind in one window."""
WINDOW_S: Final = 60.0
MAX_KINDS: Final = 1024
"""Kinds of records that are counted at a time; the one that was quiet for longest goes first."""
MAX_VALUE_CHARACTERS: Final = 4_000
MAX_EXCEPTION_CHARACTERS: Final = 16_000
MAX_ITEMS: Final = 200
"""Of a list or a mapping in a record."""

_ABOUT: Final = ("machine_id", "webhook", "alarm_id", "code", "path")
"""Fields that make two records with the same event different trouble."""

EventDict = MutableMapping[str, Any]


class RepeatLimit(logging.Filter):
    """Filter that lets ``REPEATS`` warnings or errors of a kind through in ``WINDOW_S``, and counts the others.

    A kind is the logger, the level, the event and what it is about. What was left out is told in the field
    ``suppressed`` of the kind's next record. Records below ``warning`` are never held back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: OrderedDict[tuple[object, ...], list[float]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is written."""
        if record.levelno < logging.WARNING:
            return True
        kind, now_s = _kind(record), self._clock()
        with self._lock:
            began_s, written, suppressed = self._kinds.pop(kind, (now_s, 0, 0))
            if now_s - began_s >= WINDOW_S:
                began_s, written = now_s, 0
            allowed = written < REPEATS
            if allowed:
                record.suppressed = suppressed
            self._kinds[kind] = [began_s, written + allowed, 0 if allowed else suppressed + 1]
            while len(self._kinds) > MAX_KINDS:
                self._kinds.popitem(last=False)
        return allowed


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    said = record.msg
    about = (said.get("event"), *(str(said.get(name)) for name in _ABOUT)) if isinstance(said, dict) else (str(said),)
    return (record.name, record.levelno, *about)


def note_suppressed(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add the number of records of the kind that were left out before this one (a processor)."""
    if suppressed := getattr(event.get("_record"), "suppressed", 0):
        event["suppressed"] = suppressed
    return event


def bounded(value: Any, *, limit: int = MAX_VALUE_CHARACTERS) -> Any:
    """Return a value that a JSON parser takes, of bounded length: long texts are cut, NaN and infinity are None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}... ({len(value) - limit} more)"
    if isinstance(value, dict):
        return {str(name)[:limit]: bounded(part) for name, part in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [bounded(part) for part in list(value)[:MAX_ITEMS]]
    if value is None or isinstance(value, bool | int | float):
        return value
    return bounded(str(value), limit=limit)


def bound_values(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Bound the length of every value (a processor)."""
    for name, value in event.items():
        limit = MAX_EXCEPTION_CHARACTERS if name == "exception" else MAX_VALUE_CHARACTERS
        event[name] = bounded(value, limit=limit)
    return event


def on_one_line(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Escape values that would steer the terminal or, but for a traceback, begin new lines (a processor)."""
    for name, value in event.items():
        event[name] = "\n".join(map(_visible, value.split("\n"))) if name == "exception" else _visible(value)
    return event


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
    if isinstance(value, list):
        return [_visible(part) for part in value]
    if isinstance(value, dict):
        return {_visible(name): _visible(part) for name, part in value.items()}
    return value
