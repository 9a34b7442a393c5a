"""Extent in time of many recordings, without a look at the name of each."""

from __future__ import annotations

import time
from collections.abc import Iterable

from humwatch_service.sources.folder.recorded_time import RecordedTimes
from humwatch_service.sources.folder.scan import FoundFile


class TimeExtent:
    """Times of the oldest and the newest of many recordings: the first and last by name, and by their files."""

    def __init__(self, times: RecordedTimes) -> None:
        """Begin with none.

        Args:
            times: reader of times of recordings.
        """
        self._times = times
        self._ends: list[FoundFile] = []

    def add(self, files: Iterable[FoundFile]) -> None:
        """Take recordings."""
        some = [*self._ends, *files]
        if some:
            by_name = [min(some, key=lambda file: file.path), max(some, key=lambda file: file.path)]
            by_time = [min(some, key=_modified), max(some, key=_modified)]
            self._ends = [*by_name, *by_time]

    def times(self) -> tuple[float, float]:
        """Return when the oldest and the newest were taken, seconds since 1970; there has to be one."""
        now_s = time.time()
        found = [self._times.of_file(file, now_s).time_s for file in self._ends]
        return min(found), max(found)


def _modified(file: FoundFile) -> int:
    return file.identity.modified_ns
