"""Times of recording that stand in the names of files, as recorders write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import PurePosixPath
from typing import Final

FIRST_S: Final = 978_307_200.0
"""2001: what is said to be older is of a recorder whose clock was never set (1970, 1980, 2000)."""
FUTURE_S: Final = 300.0
"""Lead of a recorder's clock that is borne."""
WEAK_S: Final = 600.0
"""Distance from the file's own time within which digits that may be a counter are taken for a time."""

_JOIN = r"(?:[ _.\-]*T|[ _.\-]+at[ _.\-]+|[ _.\-]+|[^0-9]*/[^0-9]*)?"
_TIME = (
    r"(?P<hour>\d{2}|\d(?=[-_.:h]))(?P<colon>[-_.:h/ ]?)(?P<minute>\d{2})(?:(?:(?P=colon)|m)(?P<second>\d{2})s?"
    r"(?:[.,]?(?P<fraction>\d{3}(?:\d{3})?)(?!\d))?)?(?: ?(?P<half>[AaPp][Mm])(?![A-Za-z]))?"
    r" ?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2}|\+\d{2})?(?!\d)"
)
_CLOCK = r"(?P<hour>\d{2})(?P<colon>[-_.:])(?P<minute>\d{2})(?P=colon)(?P<second>\d{2})(?![\d:])"
_DATE = r"(?<!\d)(?P<year>(?:19|20)\d{2})(?P<dash>[-_.]?)(?P<month>\d{2})(?P=dash)(?P<day>\d{2})(?!\d)"
_YEAR_FIRST = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d{2})(?P<dash>[-_./ ]?)(?P<month>\d{2})(?P=dash)(?P<day>\d{2})" + _JOIN + _TIME
)
_YEAR_LAST = re.compile(
    r"(?<!\d)(?P<first>\d{2})(?P<dash>[-_.])(?P<second_>\d{2})(?P=dash)(?P<year>(?:19|20)\d{2})" + _JOIN + _TIME
)
_SHORT = re.compile(
    r"(?<!\d)(?P<year>\d{2})(?P<month>\d{2})(?P<day>\d{2})[-_T ]"
    r"(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?(?!\d)"
)
_APART = re.compile(_DATE + r".*?[-_ T/]" + _CLOCK)
"""A date and, behind other words, a time: ``2026-11-30-birdnet-13:45:00``, ``2026-11-30/001/dav/13.45.00``."""
_HOUR_FOLDER = re.compile(
    _DATE + r"/(?P<hour>\d{2})/(?:[^/]+/)?(?P<minute>\d{2})(?P<colon>[-_.:]?)(?P<second>\d{2})(?:\.\d+)?$"
)
_TIME_FIRST = re.compile(
    r"(?<!\d)(?P<hour>\d{2})(?P<colon>[-_.:]?)(?P<minute>\d{2})(?P=colon)(?P<second>\d{2})[-_ T]+" + _DATE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WORDS = re.compile(rf"(?<!\d)(\d{{1,2}})[-_. ]?({'|'.join(_MONTHS)})[a-z]*[-_., ]+(\d{{4}})(?!\d)", re.IGNORECASE)
_EPOCH = re.compile(r"(?<!\d)(?<!\d\.)(\d{10}|\d{13}|\d{16}|\d{19})(\.\d+)?(?!\d)")
_HEX_EPOCH = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass(frozen=True)
class NameTime:
    """Time that a name seems to say.

    Attributes:
        time_s: start of the recording, seconds since 1970.
        sure: False where the digits may be a counter as well.
        text: the part of the name that says so; two times of one text are of an hour that comes twice.
        has_zone: True where it needs no zone, or says its own.
    """

    time_s: float
    sure: bool
    text: str
    has_zone: bool = False


def name_times(path: str, zone: tzinfo | None, now_s: float) -> Iterator[NameTime]:
    """Yield the times that a file's name may say, or else its name with the folders that it is in, likeliest first.

    Args:
        path: path inside the watched folder, with ``/``.
        zone: zone of times that do not say theirs; None: local time of this machine.
        now_s: wall clock, seconds since 1970.
    """
    stem = _in_digits(PurePosixPath(path).stem)
    yield from _dates(stem, zone)
    yield from _epochs(stem, now_s)
    if "/" in path:
        yield from _dates(_in_digits(str(PurePosixPath(path).with_suffix(""))), zone)


def at_zone(when: datetime, zone: tzinfo | None) -> float:
    """Return a time without a zone as seconds since 1970, in a zone; None: local time of this machine."""
    return (when.astimezone() if zone is None else when.replace(tzinfo=zone)).timestamp()


def _dates(text: str, zone: tzinfo | None) -> Iterator[NameTime]:
    for match in _YEAR_FIRST.finditer(text):
        counter = match["second"] is None and not match["colon"] and match.end("day") != match.start("hour")
        yield from _time_of(match, match["month"], match["day"], zone, sure=not counter)
    for match in _YEAR_LAST.finditer(text):
        first, second = match["first"], match["second_"]
        day_first = int(first) > 12 or match["dash"] == "."
        if not day_first:
            yield from _time_of(match, first, second, zone, sure=int(second) > 12)
        yield from _time_of(match, second, first, zone, sure=day_first)
    for match in _SHORT.finditer(text):
        yield from _time_of(match, match["month"], match["day"], zone, sure=match["second"] is not None)
    for match in _APART.finditer(text):
        sure = match["colon"] == ":" or text[match.start("hour") - 1] == "/"  # else it may be of another number
        yield from _time_of(match, match["month"], match["day"], zone, sure=sure)
    for pattern in (_HOUR_FOLDER, _TIME_FIRST):
        for match in pattern.finditer(text):
            yield from _time_of(match, match["month"], match["day"], zone, sure=bool(match["colon"]))


def _in_digits(text: str) -> str:
    """Write a day whose month is a word, as ``30-Nov-2026``, as ``2026-11-30``."""
    return _WORDS.sub(lambda found: f"{found[3]}-{_MONTHS.index(found[2].lower()) + 1:02d}-{int(found[1]):02d}", text)


def _time_of(match: re.Match[str], month: str, day: str, zone: tzinfo | None, *, sure: bool) -> Iterator[NameTime]:
    found = match.groupdict()
    year = int(found["year"]) + (2_000 if len(found["year"]) == 2 else 0)
    hour = int(found["hour"])
    if found.get("half"):
        if not 1 <= hour <= 12:
            return
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    try:
        when = datetime(year, int(month), int(day), hour, int(found["minute"]), int(found["second"] or 0))
    except ValueError:
        return
    fraction = found.get("fraction")
    fraction_s = int(fraction) / 10 ** len(fraction) if fraction else 0.0
    said = _zone_of(found.get("zone"), tee="T" in match[0])
    if said is not None:
        yield NameTime(when.replace(tzinfo=said).timestamp() + fraction_s, sure, match[0], has_zone=True)
        return
    times = [at_zone(when.replace(fold=fold), zone) for fold in (0, 1)]
    for time_s in dict.fromkeys(times):  # two where the clock was put back: the file's own time tells which
        yield NameTime(time_s + fraction_s, sure, match[0])


def _zone_of(said: str | None, *, tee: bool) -> tzinfo | None:
    """Return the zone that a name says; None where it says none: ``-0001`` is a counter."""
    if said is None:
        return None
    if said in ("Z", "UTC"):
        return UTC
    hours, minutes = int(said[1:3]), int(said[-2:]) if len(said) > 3 else 0
    if hours > 14 or minutes % 15 or not (tee or ":" in said):
        return None
    return timezone((1 if said[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def _epochs(stem: str, now_s: float) -> Iterator[NameTime]:
    """Yield counts of seconds, or of thousandths and so on, since 1970; also hexadecimal, as the first AudioMoth."""
    for match in _EPOCH.finditer(stem):
        time_s = int(match[1]) / 10 ** (len(match[1]) - 10) + float(match[2] or 0.0)
        if FIRST_S <= time_s <= now_s + FUTURE_S:
            yield NameTime(time_s, True, match[0], has_zone=True)
    if _HEX_EPOCH.fullmatch(stem):
        time_s = float(int(stem, 16))
        if FIRST_S <= time_s <= now_s + FUTURE_S:
            yield NameTime(time_s, not stem.isdigit(), stem, has_zone=True)
