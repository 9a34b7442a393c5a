"""Report of a rehearsal: alarms, warnings and their rates."""

from __future__ import annotations

from typing import Final, Literal

import scipy.stats
from pydantic import BaseModel, ConfigDict, Field

from humwatch.alarm.events import MachineState
from humwatch.alarm.rule import AlarmRule
from humwatch.detectors.normal_level import CONFIDENCE
from humwatch.source.faults import SourceFault

DAY_S: Final = 86_400.0


class ReportPart(BaseModel):
    """Part of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Episode(ReportPart):
    """A time in which an alarm was in force, or a warning was shown."""

    start_s: float = Field(description="when it began, seconds of sound since the start")
    end_s: float | None = Field(description="when it ended; null: it was still there at the end")
    peak_score: float = Field(description="highest normalised score in it")
    file: str = Field(description="that was heard when it began")
    file_s: float = Field(description="place in that file, seconds")


class Rate(ReportPart):
    """Number of events, and the rate that they stand for."""

    count: int
    a_day: float = Field(description="in a day of sound")
    low_a_day: float = Field(description="lower end of the 90 % Poisson interval; sound that is looped counts once")
    high_a_day: float = Field(description="upper end")


class ClipsOver(ReportPart):
    """Clips over the alarm level in a day of running, before any rule."""

    heard: float | None = Field(description="by the share of scores over the level; null without a score")
    expected: float = Field(description="by the model's calibration")
    low: float = Field(description="lower end of its 90 % interval")
    high: float = Field(description="upper end")
    promised: bool = Field(description="whether there were recordings enough to promise it")


class Insertion(ReportPart):
    """A recording that was put into the loop on its own."""

    file: str
    outcome: Literal["detected", "missed", "undecided"] = Field(
        description="`undecided`: an alarm was in force already when it was inserted"
    )
    after_s: float | None = Field(description="from its first sample to the alarm, seconds; null unless detected")
    peak_score: float | None = Field(
        description="highest normalised score of the clips that lie in it; null where none was scored"
    )


class Rehearsal(ReportPart):
    """Result of a rehearsal."""

    machine_id: str
    version: str = Field(description="of the model")
    rule: AlarmRule = Field(description="that was rehearsed")
    heard_s: float = Field(description="sound that was heard, seconds")
    distinct_s: float = Field(description="of that, sound that was not heard before, seconds")
    alarms: tuple[Episode, ...]
    warnings: tuple[Episode, ...] = Field(description="that did not become an alarm")
    alarm_rate: Rate
    warning_rate: Rate
    states: dict[MachineState, float] = Field(description="share of the time in each state")
    faults: dict[SourceFault, float] = Field(
        description="share of the time for which each fault of the sound was named (docs/sources.md)"
    )
    clips_over: ClipsOver
    insertions: tuple[Insertion, ...]


def poisson_rate(count: int, *, heard_s: float, distinct_s: float) -> Rate:
    """Return the rate a day, and the exact 90 % interval of a Poisson rate (Garwood 1936).

    What comes again with every pass of a loop is no further evidence: the interval takes the mean count of
    ``distinct_s`` seconds, and these alone, for observed.
    """
    seen = count * distinct_s / heard_s
    tail = (1 - CONFIDENCE) / 2
    low = float(scipy.stats.chi2.ppf(tail, 2 * seen)) / 2 if count else 0.0
    high = float(scipy.stats.chi2.ppf(1 - tail, 2 * seen + 2)) / 2
    times = DAY_S / distinct_s
    return Rate(count=count, a_day=count * DAY_S / heard_s, low_a_day=low * times, high_a_day=high * times)
