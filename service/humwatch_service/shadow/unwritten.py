"""What of a candidate is not written yet: its seconds, as many as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from humwatch_service.storage.records import ScoreSecond

MAX_SECONDS: Final = 3_600
"""Most seconds that wait to be written, while the disk takes none."""


class Unwritten(NamedTuple):
    """What is to be written of a candidate."""

    state: str
    comparison: str
    seconds: list[ScoreSecond]


class UnwrittenSeconds:
    """Seconds that wait to be written, the newest :data:`MAX_SECONDS` of them; the last one given of a second stays."""

    def __init__(self) -> None:
        self._seconds: dict[int, ScoreSecond] = {}

    def __len__(self) -> int:
        """Return the number of seconds that wait."""
        return len(self._seconds)

    def put(self, second: ScoreSecond) -> None:
        """Add a second."""
        self._seconds[second.at_s] = second
        if len(self._seconds) > MAX_SECONDS:
            del self._seconds[min(self._seconds)]

    def take(self) -> list[ScoreSecond]:
        """Return what waits, once."""
        seconds, self._seconds = self._seconds, {}
        return list(seconds.values())

    def put_back(self, seconds: Sequence[ScoreSecond]) -> None:
        """Hold what was taken and could not be written; what came since takes its place."""
        self._seconds = {second.at_s: second for second in seconds} | self._seconds
        for at_s in sorted(self._seconds)[:-MAX_SECONDS]:
            del self._seconds[at_s]
