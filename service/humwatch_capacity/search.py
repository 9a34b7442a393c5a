"""The highest number of streams that is sustained: doubled until one is not, then halved in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

PRECISION: Final = 0.1
MOST: Final = 4_096


class LevelOutcome(Protocol):
    """Result of a level."""

    @property
    def sustained(self) -> bool:
        """True where all streams were followed."""

    @property
    def admitted(self) -> int:
        """Streams that the service took."""


def search(measure: Callable[[int], LevelOutcome], *, precision: float = PRECISION, most: int = MOST) -> int:
    """Return the highest number of streams that was measured and sustained, 0 if not even one was.

    No more levels are measured once the first number that is not sustained lies within ``precision`` of it, as a
    share, or is the next one. A service that took fewer streams than came does not take more of them another time.

    Args:
        measure: plays so many streams.
        precision: a share, 0 to 1.
        most: streams; there the search ends.
    """
    good, bad = 0, most + 1
    streams = 1
    while good < bad - 1 and (good == 0 or bad - good > precision * good):
        level = measure(streams)
        if level.sustained:
            good = streams
        else:
            bad = max(good + 1, min(streams, level.admitted + 1 if level.admitted < streams else streams))
        streams = _next(good, bad, most)
    return good


def _next(good: int, bad: int, most: int) -> int:
    if bad > most:
        return min(max(1, 2 * good), most)
    return (good + bad) // 2
