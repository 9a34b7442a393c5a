"""Start of a recording: what its name, its header and its file say, and which of these can be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Final, Literal

from humwatch_service.config.sources import TimeSource
from humwatch_service.sources.folder.file_head import FileHead
from humwatch_service.sources.folder.name_times import FIRST_S, FUTURE_S, WEAK_S, NameTime, at_zone, name_times
from humwatch_service.sources.folder.scan import FoundFile

TimeOrigin = Literal["name", "bext", "file", "now"]

HALF_HOUR_S: Final = 1_800.0
MAX_HALVES: Final = 28
SAME_S: Final = 10.0
"""Distance of times that are the same, but for their zones: up to 14 h, in whole half hours."""
NEAR_S: Final = 86_400.0
"""Distance from the file's own time within which that time decides between two readings of a name."""


@dataclass(frozen=True)
class RecordedTime:
    """Start of a recording.

    Attributes:
        time_s: wall clock of its first sample, seconds since 1970.
        origin: what said so; ``now``: nothing that can be, so it ends when it was found.
        doubt: why what stands before ``origin`` was not taken, or what speaks against it; empty where nothing does.
    """

    time_s: float
    origin: TimeOrigin
    doubt: str = ""


class RecordedTimes:
    """Reader of times of recordings, by the settings of a folder."""

    def __init__(self, source: TimeSource, zone: tzinfo | None) -> None:
        """Read times.

        Args:
            source: which times are taken.
            zone: zone of times that do not say theirs; None: local time of this machine.
        """
        self._source = source
        self._zone = zone

    def of(self, path: str, head: FileHead, modified_s: float, now_s: float) -> RecordedTime:
        """Return when a recording was taken.

        Args:
            path: path inside the watched folder.
            head: what its head says.
            modified_s: last change of the file, seconds since 1970.
            now_s: wall clock, seconds since 1970.
        """
        length_s = head.length_s or 0.0
        started_s = modified_s - length_s
        doubts: list[str] = []
        if self._source in ("auto", "name"):
            for found in self._of_name(path, started_s, now_s):
                wrong = _wrong(found.time_s, now_s)
                if not wrong:
                    known = not found.has_zone and head.length_s is not None
                    return RecordedTime(found.time_s, "name", _zone_doubt(found.time_s - started_s) if known else "")
                zone = "" if found.has_zone or found.time_s < now_s else ": is `time_zone` right?"
                doubts.append(f"the time in its name {wrong}{zone}")
                break
        if self._source == "auto" and head.made is not None:
            made_s = at_zone(head.made, self._zone)
            wrong = _wrong(made_s, now_s)
            if not wrong:
                return RecordedTime(made_s, "bext", "; ".join(doubts))
            doubts.append(f"the time in its bext chunk {wrong}")
        if self._source in ("auto", "file"):
            wrong = _wrong(modified_s, now_s)
            if not wrong:
                return RecordedTime(started_s, "file", "; ".join(doubts))
            doubts.append(f"the file's own time {wrong}")
        if self._source == "name" and not doubts:
            doubts.append("there is no time in its name")
        return RecordedTime(now_s - length_s, "now", "; ".join(doubts))

    def of_file(self, file: FoundFile, now_s: float) -> RecordedTime:
        """Return when a recording was taken whose head nobody looks into."""
        return self.of(file.path, FileHead(None, None), file.identity.modified_s, now_s)

    def _of_name(self, path: str, started_s: float, now_s: float) -> list[NameTime]:
        """Return the times that a name may say, the likeliest first."""
        found = [
            time for time in name_times(path, self._zone, now_s) if time.sure or abs(time.time_s - started_s) <= WEAK_S
        ]
        found.sort(key=lambda time: bool(_wrong(time.time_s, now_s)))
        twice = [time for time in found if time.text == found[0].text]  # the hour when the clock was put back
        nearest = min(twice, key=lambda time: abs(time.time_s - started_s), default=None)
        return found if nearest is None or abs(nearest.time_s - started_s) > NEAR_S else [nearest]


def _zone_doubt(apart_s: float) -> str:
    """Return what speaks against the zone of a name's time: the file's own is whole half hours from it."""
    halves = round(apart_s / HALF_HOUR_S)
    if not 1 <= abs(halves) <= MAX_HALVES or abs(apart_s - halves * HALF_HOUR_S) > SAME_S:
        return ""
    side = "before" if halves < 0 else "after"
    return f"the time in its name is taken, {abs(halves) / 2:g} h {side} the file's own: is `time_zone` right?"


def _wrong(time_s: float, now_s: float) -> str:
    if time_s < FIRST_S:
        return "is of a clock that was never set"
    if time_s > now_s + FUTURE_S:
        return "lies in the future"
    return ""
