"""Alarms of two versions on one stream, matched as they come. Bounded, and kept as one JSON document."""

from __future__ import annotations

import math
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch_service.shadow.matching import BY, SLACK_S, By, Interval, Match, match

MAX_EPISODES: Final = 100
"""Most episodes that are listed; all are counted."""
MAX_OPEN: Final = 100
"""Most alarms that may still be matched; while one alarm never ends, the others of the other version are joined."""

Side = Literal["old", "new"]


class SideAlarm(BaseModel):
    """An alarm of one version."""

    model_config = ConfigDict(extra="forbid")

    side: Side
    start_s: float
    end_s: float | None = None
    peak_old: float | None = None
    peak_new: float | None = None
    alarm_id: str | None = None
    sound: str | None = Field(None, description="name of the sound that was kept")

    @property
    def interval(self) -> Interval:
        """Time for which it is in force."""
        return Interval(self.start_s, math.inf if self.end_s is None else self.end_s)


class Episode(BaseModel):
    """Alarms that are about the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: By
    start_s: float
    end_s: float | None
    peak_old: float | None
    peak_new: float | None
    alarm_id: str | None
    sound: str | None


class Comparison(BaseModel):
    """Alarms of the version in use (``old``) and of the candidate (``new``). Times come in order for each version."""

    model_config = ConfigDict(extra="forbid")

    open: list[SideAlarm] = []
    settled: list[Episode] = []
    counts: dict[By, int] = Field(default_factory=lambda: dict.fromkeys(BY, 0))

    def raised(self, side: Side, at_s: float, *, alarm_id: str | None = None) -> None:
        """Take an alarm that a version raised; one that it has raised already is not taken twice."""
        if self._in_force(side) is None:
            self.open.append(SideAlarm(side=side, start_s=at_s, alarm_id=alarm_id))
            self._make_room(side)

    def cleared(self, side: Side, at_s: float) -> None:
        """End the alarm of a version that is in force."""
        alarm = self._in_force(side)
        if alarm is not None:
            alarm.end_s = max(at_s, alarm.start_s)

    def scored(self, at_s: float, old: float | None, new: float | None) -> None:
        """Keep the highest scores of both in alarms that are in force."""
        for alarm in self.open:
            if alarm.start_s <= at_s <= alarm.interval.end_s:
                alarm.peak_old = higher(alarm.peak_old, old)
                alarm.peak_new = higher(alarm.peak_new, new)

    def kept(self, start_s: float, sound: str) -> None:
        """Note the sound of the candidate's alarm that began at a time."""
        for alarm in self.open:
            if alarm.side == "new" and alarm.start_s == start_s:
                alarm.sound = sound

    def is_of_both(self, start_s: float) -> bool:
        """Return whether the version in use raised what the candidate raised at a time."""
        return any(
            found.by == "both" and any(alarm.side == "new" and alarm.start_s == start_s for alarm in alarms)
            for found, alarms in self._matched()
        )

    def settle(self, now_s: float) -> list[Episode]:
        """Count what is over, with nothing to come that could be about the same; return it."""
        over = [
            (found, alarms)
            for found, alarms in self._matched()
            if all(alarm.interval.end_s + SLACK_S < now_s for alarm in alarms)
        ]
        gone = [alarm for _, alarms in over for alarm in alarms]
        self.open = [alarm for alarm in self.open if not any(alarm is settled for settled in gone)]
        episodes = [_episode(found, alarms) for found, alarms in over]
        for episode in episodes:
            self.counts[episode.by] += 1
        self.settled = [*self.settled, *episodes][-MAX_EPISODES:]
        return episodes

    def totals(self) -> dict[By, int]:
        """Return the number of episodes of each kind, as it is now."""
        now = [found.by for found, _ in self._matched()]
        return {by: self.counts[by] + now.count(by) for by in BY}

    def episodes(self) -> list[Episode]:
        """Return the episodes, the newest first."""
        now = [_episode(found, alarms) for found, alarms in self._matched()]
        return sorted([*self.settled, *now], key=lambda episode: -episode.start_s)[:MAX_EPISODES]

    def _in_force(self, side: Side) -> SideAlarm | None:
        return next((alarm for alarm in self.open if alarm.side == side and alarm.end_s is None), None)

    def _matched(self) -> list[tuple[Match, list[SideAlarm]]]:
        old = [alarm for alarm in self.open if alarm.side == "old"]
        new = [alarm for alarm in self.open if alarm.side == "new"]
        found = match([alarm.interval for alarm in old], [alarm.interval for alarm in new])
        return [(each, [*(old[at] for at in each.old), *(new[at] for at in each.new)]) for each in found]

    def _make_room(self, side: Side) -> None:
        """Join the two oldest alarms of a version that has raised too many while one of the other is in force."""
        own = [alarm for alarm in self.open if alarm.side == side]
        if len(self.open) <= MAX_OPEN or len(own) < 3:
            return
        first, second = own[:2]
        first.end_s = second.end_s
        first.peak_old, first.peak_new = (
            higher(first.peak_old, second.peak_old),
            higher(first.peak_new, second.peak_new),
        )
        first.sound = first.sound or second.sound
        self.open = [alarm for alarm in self.open if alarm is not second]


def _episode(found: Match, alarms: list[SideAlarm]) -> Episode:
    peak_old = peak_new = None
    for alarm in alarms:
        peak_old, peak_new = higher(peak_old, alarm.peak_old), higher(peak_new, alarm.peak_new)
    end_s = max(alarm.interval.end_s for alarm in alarms)
    return Episode(
        by=found.by,
        start_s=min(alarm.start_s for alarm in alarms),
        end_s=None if math.isinf(end_s) else end_s,
        peak_old=peak_old,
        peak_new=peak_new,
        alarm_id=next((alarm.alarm_id for alarm in alarms if alarm.alarm_id is not None), None),
        sound=next((alarm.sound for alarm in alarms if alarm.sound is not None), None),
    )


def higher(one: float | None, other: float | None) -> float | None:
    """Return the higher of two scores, of which there may be none."""
    return max((score for score in (one, other) if score is not None), default=None)
