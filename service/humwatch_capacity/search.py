"""The highest number of streams that is sustained: doubled until one is not, then halved in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


Measure = Callable[[int], LevelOutcome]


def search(measures: Sequence[Measure], *, first: int = 1, precision: float = PRECISION, most: int = MOST) -> list[int]:
    """Return the highest number of streams that each version measured and sustained, 0 if not even one was.

    Versions are measured in turn, level by level: what else the machine does hits all of them. No more levels are
    measured of one once its first number that is not sustained lies within ``precision`` of the last that is, as a
    share, or is the next one. A service that took fewer streams than came does not take more of them another time.

    Args:
        measures: of each version, the function that plays so many streams to it.
        first: number of streams to begin with.
        precision: a share, 0 to 1.
        most: streams; there the search ends.
    """
    searches = [_Search(min(first, most), precision, most) for _ in measures]
    while not all(one.over for one in searches):
        for one, measure in zip(searches, measures, strict=True):
            if not one.over:
                one.note(measure(one.streams))
    return [one.good for one in searches]


class _Search:
    """Search of one version.

    Attributes:
        streams: number to play next.
        good: highest number that was sustained.
    """

    def __init__(self, first: int, precision: float, most: int) -> None:
        self.streams = first
        self.good = 0
        self._bad = most + 1
        self._precision = precision
        self._most = most

    @property
    def over(self) -> bool:
        """True when no more levels are to be measured."""
        between = self._bad - self.good
        return between <= 1 or (self.good > 0 and between <= self._precision * self.good)

    def note(self, level: LevelOutcome) -> None:
        """Take the outcome of ``streams``, and choose the next number."""
        tried = self.streams
        if level.sustained:
            self.good = tried
        else:
            took = level.admitted + 1 if level.admitted < tried else tried
            self._bad = max(self.good + 1, min(tried, took))
        if self._bad > self._most:
            self.streams = min(2 * self.good, self._most)
        else:
            self.streams = (self.good + self._bad) // 2
