"""Which alarms of two versions are about the same: those that overlap in time, or nearly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

By = Literal["both", "old", "new"]
"""Which version would have raised an alarm; ``old`` and ``new``: that one alone."""
BY: Final[tuple[By, ...]] = get_args(By)

SLACK_S: Final = 10.0
"""Time between two alarms of different versions that are still about the same: the sound of one clip."""


class Interval(NamedTuple):
    """Time for which an alarm is in force, seconds; infinite while it is not over."""

    start_s: float
    end_s: float


class Match(NamedTuple):
    """Alarms that are about the same, as indices; of one version alone there is only one."""

    old: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def by(self) -> By:
        """Which of the versions raised it."""
        return "both" if self.old and self.new else "old" if self.old else "new"

    def interval(self, old: Sequence[Interval], new: Sequence[Interval]) -> Interval:
        """Return the time from the beginning of the first of these alarms to the end of the last one."""
        joined = [*(old[at] for at in self.old), *(new[at] for at in self.new)]
        return Interval(min(each.start_s for each in joined), max(each.end_s for each in joined))


def match(old: Sequence[Interval], new: Sequence[Interval], *, slack_s: float = SLACK_S) -> list[Match]:
    """Return what two versions raised, each alarm once, by the beginning of the first.

    Alarms of the two are about the same where no more than ``slack_s`` seconds lie between the end of the one and the
    beginning of the other, and so are those that a third joins. Alarms of one version are never joined without one of
    the other.
    """
    everyone = sorted(
        [(interval, "old", number) for number, interval in enumerate(old)]
        + [(interval, "new", number) for number, interval in enumerate(new)]
    )
    joined = list(range(len(everyone)))  # to a place that comes earlier, or to itself
    reaching: dict[str, list[int]] = {"old": [], "new": []}
    for place, (interval, side, _) in enumerate(everyone):
        for other in reaching:
            reaching[other] = [at for at in reaching[other] if everyone[at][0].end_s + slack_s >= interval.start_s]
        for at in reaching["new" if side == "old" else "old"]:
            first, last = sorted((_root(joined, at), _root(joined, place)))
            joined[last] = first
        reaching[side].append(place)
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for place, (_, side, number) in enumerate(everyone):
        groups.setdefault(_root(joined, place), ([], []))[side == "new"].append(number)
    return [Match(tuple(of_old), tuple(of_new)) for of_old, of_new in groups.values()]


def _root(joined: list[int], place: int) -> int:
    while joined[place] != place:
        joined[place] = place = joined[joined[place]]
    return place
