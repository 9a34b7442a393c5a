"""Plan of a commissioning: which minutes of normal sound are wanted, and when.

The first minutes come at once, so that the machine is watched soon. The others are spread over the period, one in each
stretch of it, because minutes that follow each other share the machine's speed, load and temperature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from humwatch.calibration.calibration_buffer import RECORDING_S
from humwatch.calibration.fit import MIN_RECORDINGS
from humwatch.errors import CalibrationError

PlanKind = Literal["in_a_row", "day", "week"]

MIN_MINUTES: Final = MIN_RECORDINGS
MAX_MINUTES: Final = 240
"""Enough for every method at 1 % (``order_statistic`` needs 230), and a bound of what is kept."""
AT_ONCE: Final = 5
"""Minutes that are wanted without a break from the start."""
STAGES: Final = (AT_ONCE, 15, 40)
"""Minutes from which a version is made, before the one of all minutes: each about three times the one before."""
SPREAD: Final = {"day": 96, "week": 230}
"""Minutes that are spread: one in each quarter of an hour of a day; over a week as many as are kept at most, one in
43.8 minutes, which meets every quarter of an hour of the day at least twice."""
COLLECTED_HOURS: Final = {"day": 24.0, "week": 168.0}
NORMAL_HOURS: Final = {"day": 50.0, "week": 252.0}
"""Period that is declared normal: minutes are collected in its first part, and in the rest the level scores sound that
it never saw, which limits are fitted to. These ask for a day of scores; a week has three and a half."""
GOLDEN: Final = 0.618_033_988_749_895
"""Step of the place within a stretch: a low-discrepancy sequence, so that no cycle of the plant is met in step."""


class CollectionPlan(BaseModel):
    """Minutes that are wanted over time. All times are those of the sound, seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: PlanKind = Field(description="how minutes are spread: in a row, over a day, over a week")
    start_s: float = Field(description="no sound from before is used")
    minutes: int = Field(ge=MIN_MINUTES, le=MAX_MINUTES, description="minutes of the whole plan")
    at_once: int = Field(ge=1, description="minutes of these that are wanted without a break")
    stretch_s: float = Field(ge=0, description="one minute is wanted in each stretch after that; 0: all in a row")
    collect_until_s: float | None = Field(description="no minute is wanted from then on; null: until all are there")
    until_s: float | None = Field(description="end of the period that was declared normal; null: none was declared")

    @staticmethod
    def in_a_row(minutes: int, start_s: float = 0.0, *, normal_s: float | None = None) -> CollectionPlan:
        """Want so many minutes without a break.

        Args:
            minutes: number of minutes.
            start_s: time of the start.
            normal_s: length of the period that was declared normal; None for none.

        Raises:
            CalibrationError: fewer or more minutes than thresholds can be made of, or than the period has.
        """
        if not MIN_MINUTES <= minutes <= MAX_MINUTES:
            raise CalibrationError(f"{minutes} minutes; {MIN_MINUTES} to {MAX_MINUTES} can be collected")
        if normal_s is not None and normal_s <= minutes * RECORDING_S:
            raise CalibrationError(
                f"{minutes} minutes in a row do not fit into {normal_s / 3_600:.3g} h: declare a longer time normal"
            )
        until_s = None if normal_s is None else start_s + normal_s
        return CollectionPlan(
            kind="in_a_row",
            start_s=start_s,
            minutes=minutes,
            at_once=minutes,
            stretch_s=0.0,
            collect_until_s=until_s,
            until_s=until_s,
        )

    @staticmethod
    def over(kind: Literal["day", "week"], start_s: float, *, normal_s: float | None = None) -> CollectionPlan:
        """Spread minutes over a day or a week, or over the same part of a period of another length.

        Args:
            kind: number of minutes, and the time that they are spread over.
            start_s: time of the start.
            normal_s: length of the period that was declared normal; None for ``NORMAL_HOURS``.

        Raises:
            CalibrationError: the period is too short for so many minutes.
        """
        spread = SPREAD[kind]
        share = COLLECTED_HOURS[kind] / NORMAL_HOURS[kind]
        period_s = NORMAL_HOURS[kind] * 3_600.0 if normal_s is None else normal_s
        collected_s = share * period_s
        stretch_s = collected_s / spread
        if stretch_s < 2 * RECORDING_S:
            shortest_h = 2 * RECORDING_S * spread / share / 3_600.0
            raise CalibrationError(
                f"{spread} minutes cannot be spread over {collected_s / 3_600:.3g} h, the part of"
                f" {period_s / 3_600:.3g} h in which minutes are collected:"
                f" declare {math.ceil(10 * shortest_h) / 10:g} h normal, or more"
            )
        return CollectionPlan(
            kind=kind,
            start_s=start_s,
            minutes=AT_ONCE + spread,
            at_once=AT_ONCE,
            stretch_s=stretch_s,
            collect_until_s=start_s + collected_s,
            until_s=start_s + period_s,
        )

    def shifted(self, seconds: float) -> CollectionPlan:
        """Return the same plan so much later, as after the clock was set."""
        ends = {
            name: None if at_s is None else at_s + seconds
            for name, at_s in (("collect_until_s", self.collect_until_s), ("until_s", self.until_s))
        }
        return self.model_copy(update={"start_s": self.start_s + seconds, **ends})

    def due_s(self, taken: Sequence[float]) -> float | None:
        """Return the time from which the next minute is wanted; None where no more are wanted.

        A minute that was missed is made up later, so that minutes are half a stretch apart until none is missing.

        Args:
            taken: times of the minutes that there are, in any order.
        """
        count = len(taken)
        if count >= self.minutes:
            return None
        if count < self.at_once:
            return self.start_s
        stretch = count - self.at_once
        place = (stretch * GOLDEN) % 1.0 * (self.stretch_s - RECORDING_S)
        return max(self.start_s + stretch * self.stretch_s + place, max(taken) + self.stretch_s / 2)

    def end_s(self, count: int) -> float | None:
        """Return the time from which nothing is collected any more, with so many minutes there; None: no such time.

        The first minutes are waited for as long as the sound was declared normal.
        """
        return self.until_s if count < self.at_once else self.collect_until_s

    def wants(self, at_s: float, taken: Sequence[float]) -> bool:
        """Return True if a minute is to begin with sound of a time, given the times of those that there are."""
        due_s, end_s = self.due_s(taken), self.end_s(len(taken))
        return due_s is not None and due_s <= at_s and (end_s is None or at_s < end_s)

    def stages(self, *, watched: bool) -> list[int]:
        """Return the minutes from which versions are made, the last of all.

        Args:
            watched: whether the machine has a model: then minutes in a row make one version alone.
        """
        if watched and self.kind == "in_a_row":
            return [self.minutes]
        return [*(count for count in STAGES if count < self.minutes), self.minutes]
